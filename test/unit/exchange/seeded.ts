/** Randomness from fixed seeds: for test vectors only. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import type { Randomness } from '../../../src/keymgmt/exchange/primitives.ts';

export interface Seeds {
  /** 32 bytes. */
  readonly nonce: Uint8Array;
  /** 32 bytes: the X25519 private key. */
  readonly x25519: Uint8Array;
  /** 64 bytes, d and z of FIPS 203: the initiator's. */
  readonly mlkem768: Uint8Array;
  /** 32 bytes, m of FIPS 203: the responder's. */
  readonly encapsulation: Uint8Array;
}

const X25519_PKCS8 = '302e020100300506032b656e04220420';
const MLKEM768_SEED_PKCS8 = '3054020100300b060960864801650304040204428040';

const importSeed = (prefix: string, seed: Uint8Array): KeyObject =>
  createPrivateKey({
    key: Buffer.concat([Buffer.from(prefix, 'hex'), seed]),
    format: 'der',
    type: 'pkcs8',
  });

const tail = (key: KeyObject, length: number): Uint8Array =>
  Uint8Array.from(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-length));

export const seeded = (seeds: Seeds): Randomness => ({
  bytes: (length) => seeds.nonce.slice(0, length),
  x25519() {
    const privateKey = importSeed(X25519_PKCS8, seeds.x25519);
    return { privateKey, share: tail(privateKey, 32) };
  },
  mlkem768() {
    const privateKey = importSeed(MLKEM768_SEED_PKCS8, seeds.mlkem768);
    return { privateKey, share: tail(privateKey, 1184) };
  },
  encapsulate(share) {
    const { cipherText, sharedSecret } = ml_kem768.encapsulate(share, seeds.encapsulation);
    return { ciphertext: cipherText, sharedKey: sharedSecret };
  },
});
