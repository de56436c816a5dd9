import { readFile, writeFile } from 'node:fs/promises';

/**
 * Writes a service's bootstrap data with one of its super-peers alone: a VM that starts with it is admitted there. It
 * learns the others from the service's descriptor.
 *
 * @param from file of the bootstrap data
 * @param to file to write
 * @param index of the super-peer, counted on from the first when there are fewer
 */
export async function keepSuperPeer(from: string, to: string, index: number): Promise<void> {
  const data: unknown = JSON.parse(await readFile(from, 'utf8'));
  const fields = new Map(Object.entries(data ?? {}));
  const list = fields.get('superPeers');
  if (!Array.isArray(list)) throw new Error('no super-peers in the bootstrap data');
  fields.set('superPeers', [list[index % list.length]]);
  await writeFile(to, JSON.stringify(Object.fromEntries(fields)), { mode: 0o600 });
}
