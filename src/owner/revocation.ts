/** The owner's revocation list: members that are out before their credentials end. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Ed25519PeerId } from '@libp2p/interface';
import { type Opened, open, seal } from '../records/envelope.ts';
import { REVOCATION, type RevocationList } from '../records/revocation.ts';
import { readDescriptor, readOwnerKey } from './directory.ts';

/** The newest list is kept beside the descriptor, since each new one must hold all of the old. */
const listPath = (dir: string): string => join(dir, 'revocations');

/**
 * Adds a node to the list: none of its credentials counts any more, and it gets no new one.
 *
 * @returns the new list, to be published
 */
export async function revokeMember(
  dir: string,
  member: Ed25519PeerId,
): Promise<Opened<RevocationList>> {
  const { serviceId } = (await readDescriptor(dir)).value;
  const old = (await readSignedRevocations(dir))?.value;
  const since = Math.floor(Date.now() / 1000);
  const kept = old?.revocations.filter((each) => !each.peerId.equals(member)) ?? [];
  const list = {
    serviceId,
    issuer: serviceId,
    sequence: (old?.sequence ?? 0) + 1,
    revocations: [...kept, { peerId: member, serial: undefined, since }],
    tickets: old?.tickets ?? [],
  };
  const bytes = await seal(REVOCATION, list, await readOwnerKey(dir));
  await writeFile(listPath(dir), bytes);
  return open(REVOCATION, bytes);
}

/** The newest list that the owner of `dir` signed; undefined when nobody was revoked. */
export async function readSignedRevocations(
  dir: string,
): Promise<Opened<RevocationList> | undefined> {
  try {
    return await open(REVOCATION, Uint8Array.from(await readFile(listPath(dir))));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
