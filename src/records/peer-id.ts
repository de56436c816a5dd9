/** PeerIDs and ServiceIDs: libp2p PeerIDs of Ed25519 keys, which carry the public key in themselves. */
import type { Ed25519PeerId, PeerId } from '@libp2p/interface';
import { peerIdFromMultihash, peerIdFromString } from '@libp2p/peer-id';
import * as Digest from 'multiformats/hashes/digest';
import { identity } from 'multiformats/hashes/identity';
import { equals } from 'uint8arrays/equals';
import { type Codec, refine, view } from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';

/** Length of an Ed25519 PeerID: a 2-byte identity multihash header and a 36-byte public key message. */
export const PEER_ID_LENGTH = 38;

/** A public key as libp2p writes it, up to the 32 bytes of an Ed25519 key: `PublicKey { type = 1: 1, data = 2 }`. */
export const ED25519_PREFIX = Uint8Array.of(0x08, 0x01, 0x12, 0x20);
const ED25519_MESSAGE_LENGTH = ED25519_PREFIX.length + 32;

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

/**
 * Gives the same answer again for the same bytes as last time: all credentials of a list name one service
 * and mostly one super-peer, and making a PeerID takes longer than the rest of a field.
 */
function remembering<T>(parse: (raw: Uint8Array) => T): (raw: Uint8Array) => T {
  let last: { readonly raw: Uint8Array; readonly parsed: T } | undefined;
  return (raw) => {
    if (last === undefined || !equals(last.raw, raw)) {
      const own = Uint8Array.from(raw);
      last = { raw: own, parsed: parse(own) };
    }
    return last.parsed;
  };
}

/** @returns what stands for a PeerID in a map: its bytes as characters, twenty times as fast as its base58 text */
export function peerIdKey(id: PeerId): string {
  const { buffer, byteOffset, length } = id.toMultihash().bytes;
  return Buffer.from(buffer, byteOffset, length).toString('latin1');
}

/** @param key a public key as libp2p writes it. @returns undefined when it is no Ed25519 key */
export const peerIdFromEd25519: (key: Uint8Array) => Ed25519PeerId | undefined = remembering(
  (key) => {
    const isEd25519 =
      key.length === ED25519_MESSAGE_LENGTH && ED25519_PREFIX.every((byte, at) => key[at] === byte);
    return isEd25519 ? ed25519(peerIdFromMultihash(identity.digest(key)), 'bytes') : undefined;
  },
);

/** Codec of a PeerID or ServiceID (38 bytes). */
export const peerId = (): Codec<Ed25519PeerId> =>
  refine(view({ min: PEER_ID_LENGTH, max: PEER_ID_LENGTH }), {
    parse: remembering((raw) => ed25519(peerIdFromMultihash(Digest.decode(raw)), 'bytes')),
    format: (id) => id.toMultihash().bytes,
  });
