import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { shake128 } from '@noble/hashes/sha3.js';
import {
  type AttributeKey,
  decodeAttributeKey,
  decodeMasterKey,
  decodePublicKey,
  decrypt,
  encodeAttributeKey,
  encodeMasterKey,
  encodePublicKey,
  encrypt,
  formatPolicy,
  generateKey,
  initAbe,
  type MasterKey,
  type PublicKey,
  policyOf,
  setup,
} from '../../../src/keymgmt/abe/index.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

// CIRCL's files abe/cpabe/tkn20/testdata are made, in this order, from the stream of SHAKE128("").
describe('the golden files of CIRCL, byte for byte', () => {
  let publicKey: PublicKey;
  let masterKey: MasterKey;
  let ciphertext: Uint8Array;
  let attributeKey: AttributeKey;

  before(async () => {
    await initAbe();
    const xof = shake128.create({}).update(new Uint8Array(0));
    const random = (length: number): Uint8Array => xof.xof(length);
    ({ publicKey, masterKey } = setup(random));
    const plaintext = new TextEncoder().encode('Be sure to drink your ovaltine!');
    ciphertext = encrypt(publicKey, 'EU: true', plaintext, random);
    attributeKey = generateKey(masterKey, { country: 'NL', EU: 'true' }, random);
  });

  it('publicKey', () => {
    const bytes = encodePublicKey(publicKey);
    assert.equal(sha256(bytes), 'b43184cf82fa4beee8695c1e1ef43b4a01447abbf1ab3134adf755e98e42630c');
    assert.deepEqual(encodePublicKey(decodePublicKey(bytes)), bytes);
  });

  it('secretKey', () => {
    const bytes = encodeMasterKey(masterKey);
    assert.equal(sha256(bytes), '8b9d0ce2d178a1103b33489e6b7804986292ead7f0ff741d1f482a811ca6c6b6');
    assert.deepEqual(encodeMasterKey(decodeMasterKey(bytes)), bytes);
  });

  it('ciphertext', () => {
    assert.equal(
      sha256(ciphertext),
      '7dfa268e75fd6f9e47fb3241ffac97493845598642ae12377e4f9a17896eb6d0',
    );
    assert.equal(formatPolicy(policyOf(ciphertext)), 'EU: true');
  });

  it('attributeKey', () => {
    const bytes = encodeAttributeKey(attributeKey);
    assert.equal(sha256(bytes), '0eb5d27344d2ace654e2c6ba2e0c2975c250985d8a2d99d75d9f639d69f4aee7');
    assert.deepEqual(encodeAttributeKey(decodeAttributeKey(bytes)), bytes);
  });

  it('the key opens the ciphertext', () => {
    const key = decodeAttributeKey(encodeAttributeKey(attributeKey));
    const plaintext = decrypt(key, ciphertext);
    assert.equal(new TextDecoder().decode(plaintext), 'Be sure to drink your ovaltine!');
  });
});
