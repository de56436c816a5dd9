/** PeerIDs and ServiceIDs: libp2p PeerIDs of Ed25519 keys, which carry the public key in themselves. */
import type { Ed25519PeerId, PeerId } from '@libp2p/interface';
import { peerIdFromMultihash, peerIdFromString } from '@libp2p/peer-id';
import * as Digest from 'multiformats/hashes/digest';
import { bytes, type Codec, refine } from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';

/** Length of an Ed25519 PeerID: a 2-byte identity multihash header and a 36-byte public key message. */
export const PEER_ID_LENGTH = 38;

export class PeerIdError extends IcvpnError {
  constructor(text: string) {
    super(
      'ERR_PEER_ID',
      `"${text}" is not the PeerID of an Ed25519 key`,
      'copy the whole identifier; it begins with 12D3KooW',
    );
  }
}

function ed25519(id: PeerId, text: string): Ed25519PeerId {
  if (id.type !== 'Ed25519') throw new PeerIdError(text);
  return id;
}

/** @throws PeerIdError */
export function parsePeerId(text: string): Ed25519PeerId {
  let id: PeerId;
  try {
    id = peerIdFromString(text);
  } catch {
    throw new PeerIdError(text);
  }
  const checked = ed25519(id, text);
  // peerIdFromString takes several spellings (base58, CIDs); identifiers are compared as text.
  if (checked.toString() !== text) throw new PeerIdError(text);
  return checked;
}

/** Codec of a PeerID or ServiceID (38 bytes). */
export const peerId = (): Codec<Ed25519PeerId> =>
  refine(bytes({ length: PEER_ID_LENGTH }), {
    parse: (raw) => ed25519(peerIdFromMultihash(Digest.decode(raw)), 'bytes'),
    format: (id) => id.toMultihash().bytes,
  });
