/** The algorithms of a state, with the kernel's names (`/proc/crypto`, ip-xfrm(8)). */
import { MalformedError, ValueError } from '../netlink/errors.ts';
import { attribute, concat } from '../netlink/framing.ts';
import type { ValueOf } from '../netlink/struct.ts';
import { XFRMA } from './kernel/constants.ts';
import { xfrmAlgo, xfrmAlgoAead, xfrmAlgoAuth } from './kernel/state.ts';
import { MAX_KEY_LENGTH, XfrmKey } from './key.ts';

/** Cipher and authenticator in one. */
export interface Aead {
  /** `rfc4106(gcm(aes))`, `rfc7539esp(chacha20,poly1305)`, `rfc4309(ccm(aes))`, `rfc4543(gcm(aes))`. */
  readonly name: string;
  /** Cipher key, then salt: 4 bytes for GCM and ChaCha20-Poly1305, 3 for CCM. */
  readonly key: XfrmKey;
  /** Integrity check value in bits: 64, 96 or 128. */
  readonly icvBits: number;
}

/** `cbc(aes)`, `rfc3686(ctr(aes))`, `ecb(cipher_null)`, ... */
export interface Cipher {
  readonly name: string;
  readonly key: XfrmKey;
}

/** `hmac(sha256)`, `hmac(sha512)`, `cmac(aes)`, ... */
export interface Authenticator {
  readonly name: string;
  readonly key: XfrmKey;
  /** Length of the truncated value in bits, e.g. 128 for HMAC-SHA-256-128. */
  readonly truncBits: number;
}

/** What protects a state: an AEAD, or a cipher and an authenticator (for AH only the latter). */
export interface Algorithms {
  readonly aead?: Aead | undefined;
  readonly cipher?: Cipher | undefined;
  readonly authenticator?: Authenticator | undefined;
  /** Name of a compression, e.g. `deflate`. */
  readonly compression?: string | undefined;
}

/** An algorithm as the kernel tells it; the key only where it was asked for. */
export interface ReportedAlgorithm {
  readonly name: string;
  /** Length of the key in bits. */
  readonly keyBits: number;
  /** Of an AEAD: its integrity check value in bits. */
  readonly icvBits?: number;
  /** Of an authenticator. */
  readonly truncBits?: number;
  readonly key?: XfrmKey;
}

export interface ReportedAlgorithms {
  readonly aead?: ReportedAlgorithm;
  readonly cipher?: ReportedAlgorithm;
  readonly authenticator?: ReportedAlgorithm;
  readonly compression?: string;
}

/** @throws ValueError on a name over 63 bytes, on a key over 512 bytes. */
export function encodeAlgorithms(algorithms: Algorithms): Uint8Array[] {
  const { aead, cipher, authenticator, compression } = algorithms;
  const out: Uint8Array[] = [];
  if (aead !== undefined) {
    const head = { name: aead.name, keyBits: bits(aead.key), icvBits: aead.icvBits };
    out.push(keyed(XFRMA.ALG_AEAD, xfrmAlgoAead.encode(head), aead.key));
  }
  if (authenticator !== undefined) {
    const { name, key, truncBits } = authenticator;
    const head = { name, keyBits: bits(key), truncBits };
    out.push(keyed(XFRMA.ALG_AUTH_TRUNC, xfrmAlgoAuth.encode(head), key));
  }
  if (cipher !== undefined) {
    const head = { name: cipher.name, keyBits: bits(cipher.key) };
    out.push(keyed(XFRMA.ALG_CRYPT, xfrmAlgo.encode(head), cipher.key));
  }
  if (compression !== undefined) {
    out.push(attribute(XFRMA.ALG_COMP, xfrmAlgo.encode({ name: compression, keyBits: 0 })));
  }
  return out;
}

function bits(key: XfrmKey): number {
  if (key.length > MAX_KEY_LENGTH) throw new ValueError('key', `at most ${MAX_KEY_LENGTH} bytes`);
  return key.length * 8;
}

function keyed(type: number, head: Uint8Array, key: XfrmKey): Uint8Array {
  const payload = concat([head, key.expose()]);
  const out = attribute(type, payload);
  payload.fill(0);
  return out;
}

/** @throws MalformedError */
export function decodeAlgorithms(
  attributes: ReadonlyMap<number, Uint8Array>,
  withKeys: boolean,
): ReportedAlgorithms {
  const aead = attributes.get(XFRMA.ALG_AEAD);
  const trunc = attributes.get(XFRMA.ALG_AUTH_TRUNC);
  const cipher = attributes.get(XFRMA.ALG_CRYPT);
  const compression = attributes.get(XFRMA.ALG_COMP);
  return {
    ...(aead && { aead: withKey(xfrmAlgoAead.decode(aead), aead, xfrmAlgoAead.size, withKeys) }),
    ...(trunc && {
      authenticator: withKey(xfrmAlgoAuth.decode(trunc), trunc, xfrmAlgoAuth.size, withKeys),
    }),
    ...(cipher && { cipher: withKey(xfrmAlgo.decode(cipher), cipher, xfrmAlgo.size, withKeys) }),
    ...(compression && { compression: xfrmAlgo.decode(compression).name }),
  };
}

function withKey<T extends ValueOf<typeof xfrmAlgo>>(
  head: T,
  payload: Uint8Array,
  size: number,
  keep: boolean,
): T & { key?: XfrmKey } {
  const length = Math.ceil(head.keyBits / 8);
  if (length > MAX_KEY_LENGTH || payload.length < size + length) {
    throw new MalformedError(`key of ${head.keyBits} bits in ${payload.length} bytes`);
  }
  return keep ? { ...head, key: XfrmKey.of(payload.subarray(size, size + length)) } : head;
}
