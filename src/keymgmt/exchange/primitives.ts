/**
 * The primitives, each OpenSSL's through node:crypto except HMAC, whose many short calls are three
 * times as fast in @noble/hashes.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
  hash,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { hmac as nobleHmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { concat } from 'uint8arrays/concat';
import { ExchangeError } from './errors.ts';
import { TAG_LENGTH } from './messages.ts';

/** An ephemeral key pair; `share` is the public key as it travels. */
export interface KeyShare {
  readonly privateKey: KeyObject;
  readonly share: Uint8Array;
}

/** Where the fresh values of a run come from. Test vectors give fixed ones. */
export interface Randomness {
  bytes(length: number): Uint8Array;
  x25519(): KeyShare;
  mlkem768(): KeyShare;
  /** @throws when `share` is no ML-KEM-768 encapsulation key */
  encapsulate(share: Uint8Array): { sharedKey: Uint8Array; ciphertext: Uint8Array };
}

/** SubjectPublicKeyInfo of ML-KEM-768 up to the key itself (RFC 9935). */
const MLKEM768_SPKI_PREFIX = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex');

export const systemRandomness: Randomness = {
  bytes: (length) => randomBytes(length),
  x25519() {
    const pair = generateKeyPairSync('x25519');
    return { privateKey: pair.privateKey, share: rawPublic(pair.publicKey) };
  },
  mlkem768() {
    const pair = generateKeyPairSync('ml-kem-768');
    const spki = pair.publicKey.export({ format: 'der', type: 'spki' });
    return {
      privateKey: pair.privateKey,
      share: Uint8Array.from(spki.subarray(MLKEM768_SPKI_PREFIX.length)),
    };
  },
  encapsulate(share) {
    const key = createPublicKey({
      key: Buffer.concat([MLKEM768_SPKI_PREFIX, share]),
      format: 'der',
      type: 'spki',
    });
    return encapsulate(key);
  },
};

function rawPublic(key: KeyObject): Uint8Array {
  const { x } = key.export({ format: 'jwk' });
  if (x === undefined) throw new TypeError('not an X25519 or Ed25519 key');
  return Uint8Array.from(Buffer.from(x, 'base64url'));
}

const jwk = (crv: 'X25519' | 'Ed25519', raw: Uint8Array): { [name: string]: string } => ({
  kty: 'OKP',
  crv,
  x: Buffer.from(raw).toString('base64url'),
});

/**
 * X25519 (RFC 7748). OpenSSL refuses points of low order, whose result would be all zero.
 *
 * @throws ExchangeError with fault `share`
 */
export function x25519(own: KeyObject, share: Uint8Array): Uint8Array {
  try {
    const publicKey = createPublicKey({ key: jwk('X25519', share), format: 'jwk' });
    return diffieHellman({ privateKey: own, publicKey });
  } catch (cause) {
    throw new ExchangeError('share', 'the X25519 share of the peer is not usable', { cause });
  }
}

/** @throws ExchangeError with fault `share` */
export function mlkem768Encapsulate(
  random: Randomness,
  share: Uint8Array,
): { sharedKey: Uint8Array; ciphertext: Uint8Array } {
  try {
    return random.encapsulate(share);
  } catch (cause) {
    throw new ExchangeError('share', 'the ML-KEM-768 key of the peer is not one', { cause });
  }
}

/** Never refuses: an altered ciphertext gives another, unpredictable secret (FIPS 203, section 6.3). */
export const mlkem768Decapsulate = (own: KeyObject, ciphertext: Uint8Array): Uint8Array =>
  decapsulate(own, ciphertext);

/** Importing a key costs nearly as much as signing with it, and the same peers rekey again and again. */
const signingKeys = new WeakMap<PrivateKey, KeyObject>();
const verifyingKeys = new WeakMap<Ed25519PeerId, KeyObject>();

/** Ed25519 (RFC 8032). @throws TypeError when `key` is no Ed25519 key */
export function ed25519Sign(key: PrivateKey, data: Uint8Array): Uint8Array {
  let imported = signingKeys.get(key);
  if (imported === undefined) {
    if (key.type !== 'Ed25519') throw new TypeError(`an Ed25519 key is needed, not ${key.type}`);
    const d = Buffer.from(key.raw.subarray(0, 32)).toString('base64url');
    imported = createPrivateKey({
      key: { ...jwk('Ed25519', key.publicKey.raw), d },
      format: 'jwk',
    });
    signingKeys.set(key, imported);
  }
  return sign(null, data, imported);
}

export function ed25519Verify(id: Ed25519PeerId, data: Uint8Array, signature: Uint8Array): boolean {
  let imported = verifyingKeys.get(id);
  if (imported === undefined) {
    imported = createPublicKey({ key: jwk('Ed25519', id.publicKey.raw), format: 'jwk' });
    verifyingKeys.set(id, imported);
  }
  return verify(null, data, imported, signature);
}

/** Each key seals one message, so the nonce may be constant. */
const ZERO_NONCE = new Uint8Array(12);
const AEAD = 'aes-256-gcm';
const TAG = { authTagLength: TAG_LENGTH } as const;

/** AES-256-GCM under a key that is used once. @returns ciphertext and 16-byte tag */
export function seal(key: Uint8Array, plain: Uint8Array, aad: Uint8Array): Uint8Array {
  // A KeyObject, because Node takes 15 us to find out that raw bytes are none.
  const cipher = createCipheriv(AEAD, createSecretKey(key), ZERO_NONCE, TAG);
  cipher.setAAD(aad);
  return concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** @throws ExchangeError with fault `seal` */
export function unseal(key: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array {
  const end = sealed.length - TAG_LENGTH;
  const decipher = createDecipheriv(AEAD, createSecretKey(key), ZERO_NONCE, TAG);
  decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(end));
  try {
    return concat([decipher.update(sealed.subarray(0, end)), decipher.final()]);
  } catch (cause) {
    throw new ExchangeError('seal', 'the sealed part of the message does not open', { cause });
  }
}

export const hmac = (key: Uint8Array, data: Uint8Array): Uint8Array => nobleHmac(sha256, key, data);

/** SHA-256 over parts that are each preceded by their length (4 bytes, big endian). */
export const digest = (...parts: Uint8Array[]): Uint8Array =>
  hash('sha256', joined(...parts), 'buffer');

/** Parts in one unambiguous string. */
export function joined(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((length, part) => length + 4 + part.length, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const part of parts) {
    view.setUint32(at, part.length);
    out.set(part, at + 4);
    at += 4 + part.length;
  }
  return out;
}
