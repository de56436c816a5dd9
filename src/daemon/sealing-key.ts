/** A super-peer's sealing key, to which owners encrypt their secrets, and the card that shows it. */
import { generateSealingKey } from '../admission/sealed.ts';
import type { TcpMultiaddr } from '../codec/multiaddr.ts';
import { seal } from '../records/envelope.ts';
import { SUPER_PEER_CARD } from '../records/super-peer-card.ts';
import type { NodeState } from './state.ts';

const KEY_LENGTH = 32;

export interface SealingKey {
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
}

/** Made at first use, then kept in the secure cache (private key, then public key). */
export async function sealingKey(state: NodeState): Promise<SealingKey> {
  const stored = await state.cache.get('sealing-key');
  if (stored?.length === 2 * KEY_LENGTH) {
    return { privateKey: stored.subarray(0, KEY_LENGTH), publicKey: stored.slice(KEY_LENGTH) };
  }
  const { privateKey, publicKey } = generateSealingKey();
  const both = Buffer.concat([privateKey, publicKey]);
  await state.cache.put('sealing-key', both);
  both.fill(0);
  return { privateKey, publicKey };
}

/** @param multiaddrs where the super-peer can be dialled */
export async function makeCard(state: NodeState, multiaddrs: TcpMultiaddr[]): Promise<Uint8Array> {
  const { publicKey, privateKey } = await sealingKey(state);
  privateKey.fill(0);
  const card = { peerId: state.peerId, sealingKey: publicKey, multiaddrs };
  return seal(SUPER_PEER_CARD, card, state.key);
}
