/** The primitives, each OpenSSL's through node:crypto. */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPublicKey,
  createSecretKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
  hash,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { concat } from 'uint8arrays/concat';
import { publicKeyPem } from '../../records/ed25519.ts';
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

/** SubjectPublicKeyInfo of X25519 up to the key itself (RFC 8410). */
const X25519_SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex');
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
    return encapsulate(createPublicKey(publicKeyPem(MLKEM768_SPKI_PREFIX, share)));
  },
};

function rawPublic(key: KeyObject): Uint8Array {
  const { x } = key.export({ format: 'jwk' });
  if (x === undefined) throw new TypeError('not an X25519 key');
  return Uint8Array.from(Buffer.from(x, 'base64url'));
}

/**
 * X25519 (RFC 7748). OpenSSL refuses points of low order, whose result would be all zero.
 *
 * @throws ExchangeError with fault `share`
 */
export function x25519(own: KeyObject, share: Uint8Array): Uint8Array {
  try {
    const publicKey = createPublicKey(publicKeyPem(X25519_SPKI_PREFIX, share));
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

// Keys are given as KeyObjects, since Node takes 15 us to find out that raw bytes are none.

/** Each key seals one message, so the nonce may be constant. */
const ZERO_NONCE = new Uint8Array(12);
const AEAD = 'aes-256-gcm';
const TAG = { authTagLength: TAG_LENGTH } as const;

/** AES-256-GCM under a key that is used once. @returns ciphertext and 16-byte tag */
export function seal(key: Uint8Array, plain: Uint8Array, aad: Uint8Array): Uint8Array {
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

/** HMAC-SHA-256, 32 bytes. */
export const hmac = (key: Uint8Array, data: Uint8Array): Uint8Array =>
  createHmac('sha256', createSecretKey(key)).update(data).digest();

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
