/**
 * Ed25519 (RFC 8032) by OpenSSL, with keys imported once.
 *
 * Importing a key costs a quarter of a verification and nearly as much as a signature, and the same few
 * super-peers sign what all members show.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { PrivateKey } from '@libp2p/interface';

/** Keys kept imported. A stranger who shows more only makes others be imported anew. */
const MAX_IMPORTED = 1024;

/** SubjectPublicKeyInfo of Ed25519 up to the key itself (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** A public key as PEM, three times as fast to import as JWK, DER or raw bytes: those Node first takes for a KeyObject, and throws. */
export const publicKeyPem = (spkiPrefix: Uint8Array, raw: Uint8Array): string =>
  `-----BEGIN PUBLIC KEY-----\n${Buffer.concat([spkiPrefix, raw]).toString('base64')}\n-----END PUBLIC KEY-----\n`;

const base64url = (raw: Uint8Array): string => Buffer.from(raw).toString('base64url');

const signing = new WeakMap<PrivateKey, KeyObject>();
/** The least recently used first. */
const verifying = new Map<string, KeyObject>();

/** @returns the signature, 64 bytes. @throws TypeError when `key` is no Ed25519 key */
export function ed25519Sign(key: PrivateKey, data: Uint8Array): Uint8Array {
  let imported = signing.get(key);
  if (imported === undefined) {
    if (key.type !== 'Ed25519') throw new TypeError(`an Ed25519 key is needed, not ${key.type}`);
    const d = base64url(key.raw.subarray(0, 32));
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: base64url(key.publicKey.raw), d };
    imported = createPrivateKey({ key: jwk, format: 'jwk' });
    signing.set(key, imported);
  }
  return sign(null, data, imported);
}

/** @param publicKey 32 bytes */
export function ed25519Verify(
  publicKey: Uint8Array,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  const name = Buffer.from(publicKey).toString('latin1');
  const known = verifying.get(name);
  const key = known ?? createPublicKey(publicKeyPem(SPKI_PREFIX, publicKey));
  if (known !== undefined) verifying.delete(name);
  else if (verifying.size === MAX_IMPORTED) {
    for (const oldest of verifying.keys()) {
      verifying.delete(oldest);
      break;
    }
  }
  verifying.set(name, key);
  return verify(null, data, key, signature);
}
