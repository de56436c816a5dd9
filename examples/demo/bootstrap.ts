import { readFile, writeFile } from 'node:fs/promises';

/**
 * Writes a service's bootstrap data with its super-peers turned by so many places: who starts with it begins
 * at another one.
 *
 * @param from file of the bootstrap data
 * @param to file to write
 */
export async function turnSuperPeers(from: string, to: string, places: number): Promise<void> {
  const data: unknown = JSON.parse(await readFile(from, 'utf8'));
  const fields = new Map(Object.entries(data ?? {}));
  const list = fields.get('superPeers');
  if (!Array.isArray(list)) throw new Error('no super-peers in the bootstrap data');
  const turn = places % list.length;
  fields.set('superPeers', [...list.slice(turn), ...list.slice(0, turn)]);
  await writeFile(to, JSON.stringify(Object.fromEntries(fields)), { mode: 0o600 });
}
