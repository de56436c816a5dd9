/**
 * Membership shards as tier 1 stores them: under `ServiceID and epoch`, so that nodes keep them which must
 * not read them. The envelope of the record says who wrote one, for which service and in which order.
 *
 *     content = { epoch, header, body }        header and body: body.ts
 *
 * One data key serves all shards that a super-peer writes in an epoch: a member that joins costs no
 * attribute-based encryption, and a reader one decryption for each super-peer and epoch.
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { epochPolicy } from './attributes.ts';
import { decodePart, openBody, sealBody } from './body.ts';
import type { DataKeys, UnwrapKey } from './data-key.ts';
import { sealedShard } from './messages.ts';

/** @throws what wrapping a data key throws */
export async function sealShard(
  content: Uint8Array,
  { serviceId, epoch }: { readonly serviceId: Ed25519PeerId; readonly epoch: number },
  dataKeys: DataKeys,
): Promise<Uint8Array> {
  const dataKey = await dataKeys.get(epochPolicy(serviceId, epoch));
  try {
    return sealedShard.encode({ epoch, ...sealBody(content, dataKey) });
  } finally {
    dataKey.key.fill(0);
  }
}

/**
 * @param unwrap of an epoch, undefined where this reader has no key
 * @returns undefined if there is none
 * @throws MemberListError (ERR_MEMBER_LIST); what `unwrap` throws
 */
export async function openShard(
  sealed: Uint8Array,
  unwrap: (epoch: number) => UnwrapKey | undefined,
): Promise<Uint8Array | undefined> {
  const { epoch, ...parts } = decodePart(sealedShard, 'format', sealed);
  const key = unwrap(epoch);
  return key && openBody(parts, key);
}
