/**
 * Two yardsticks for one side of an exchange: its public-key primitives in JavaScript (what it would
 * cost without OpenSSL, with the key schedule), and the same primitives as bare OpenSSL calls on keys
 * imported beforehand (a floor that no implementation on node:crypto gets under).
 */
import {
  createPublicKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import { ed25519, x25519 } from '@noble/curves/ed25519.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import type { Suite } from '../../src/keymgmt/exchange/suite.ts';

type Role = 'initiator' | 'responder';

/** HMACs in the key schedule and the proofs of one side: extract, expand, MAC. */
const HMACS = 16;
const said = randomBytes(180);

const js = {
  secretKey: ed25519.utils.randomSecretKey(),
  share: x25519.getPublicKey(x25519.utils.randomSecretKey()),
  kem: ml_kem768.keygen(),
};
const jsSignature = ed25519.sign(said, js.secretKey);
const jsPublicKey = ed25519.getPublicKey(js.secretKey);
const jsCiphertext = ml_kem768.encapsulate(js.kem.publicKey).cipherText;

/** Key pair, shared secret, one signature, two verifications (proof and credential), key schedule. */
export function nobleSide(role: Role, suite: Suite): void {
  const own = x25519.utils.randomSecretKey();
  x25519.getPublicKey(own);
  x25519.getSharedSecret(own, js.share);
  if (suite === 'x25519-mlkem768' && role === 'initiator') {
    ml_kem768.decapsulate(jsCiphertext, ml_kem768.keygen().secretKey);
  }
  if (suite === 'x25519-mlkem768' && role === 'responder') ml_kem768.encapsulate(js.kem.publicKey);
  ed25519.sign(said, js.secretKey);
  for (let n = 0; n < 2; n++) {
    if (!ed25519.verify(jsSignature, said, jsPublicKey)) throw new Error('must hold');
  }
  for (let n = 0; n < HMACS; n++) hmac(sha256, own, said);
}

const native = {
  identity: generateKeyPairSync('ed25519'),
  share: createPublicKey(generateKeyPairSync('x25519').privateKey),
  kem: generateKeyPairSync('ml-kem-768'),
};
const signature = sign(null, said, native.identity.privateKey);
const { ciphertext } = encapsulate(native.kem.publicKey);

/** Key pair, shared secret, one signature, two verifications; nothing else. */
export function floorSide(role: Role, suite: Suite): void {
  const { privateKey } = generateKeyPairSync('x25519');
  diffieHellman({ privateKey, publicKey: native.share });
  if (suite === 'x25519-mlkem768' && role === 'initiator') {
    decapsulate(generateKeyPairSync('ml-kem-768').privateKey, ciphertext);
  }
  if (suite === 'x25519-mlkem768' && role === 'responder') encapsulate(native.kem.publicKey);
  sign(null, said, native.identity.privateKey);
  for (let n = 0; n < 2; n++) {
    if (!verify(null, said, native.identity.publicKey, signature)) throw new Error('must hold');
  }
}
