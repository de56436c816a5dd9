import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { shake128 } from '@noble/hashes/sha3.js';
import {
  AbeUnsatisfiedError,
  decodeMasterKey,
  decrypt,
  encodeAttributeKey,
  encodeMasterKey,
  encodePublicKey,
  encrypt,
  formatPolicy,
  generateKey,
  initAbe,
  policyOf,
  setup,
} from '../../../src/keymgmt/abe/index.ts';

interface AndShare {
  readonly policy: string;
  readonly plaintext: string;
  /** Hexadecimal, as the next one. */
  readonly masterKey: string;
  readonly ciphertext: string;
}

/** See test/vectors/circl-policies.go, which makes them. */
interface Policies {
  readonly stream: string;
  readonly plaintext: string;
  readonly publicKey: string;
  readonly masterKey: string;
  readonly vectors: readonly {
    readonly policy: string;
    readonly attributes: Readonly<Record<string, string>>;
    readonly ciphertext: string;
    readonly key: string;
    readonly opens: boolean;
  }[];
}

const file = async (name: string): Promise<string> =>
  readFile(new URL(`../../vectors/${name}.json`, import.meta.url), 'utf8');
const andShare: AndShare = JSON.parse(await file('circl-and-share'));
const policies: Policies = JSON.parse(await file('circl-policies'));
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('interoperation with CIRCL', () => {
  before(() => initAbe());

  it('what CIRCL encrypted under an AND opens with a key from CIRCL’s master key, and with no lesser one', () => {
    const masterKey = decodeMasterKey(Buffer.from(andShare.masterKey, 'hex'));
    const ciphertext = Uint8Array.from(Buffer.from(andShare.ciphertext, 'hex'));
    assert.equal(formatPolicy(policyOf(ciphertext)), `(${andShare.policy})`);
    const key = generateKey(masterKey, { role: 'admin', dept: 'engineering' });
    assert.equal(new TextDecoder().decode(decrypt(key, ciphertext)), andShare.plaintext);
    for (const attributes of [{ role: 'guest' }, { role: 'admin' }, { dept: 'engineering' }]) {
      const lesser = generateKey(masterKey, attributes);
      assert.throws(() => decrypt(lesser, ciphertext), AbeUnsatisfiedError);
    }
  });

  it('AND, OR, NOT and repeated labels: from one stream of randomness the same bytes as CIRCL v1.6.5, and the same keys open them', () => {
    const xof = shake128.create({}).update(utf8(policies.stream));
    const random = (length: number): Uint8Array => xof.xof(length);
    const { publicKey, masterKey } = setup(random);
    assert.equal(sha256(encodePublicKey(publicKey)), policies.publicKey);
    assert.equal(sha256(encodeMasterKey(masterKey)), policies.masterKey);
    for (const { policy, attributes, ...expected } of policies.vectors) {
      const ciphertext = encrypt(publicKey, policy, utf8(policies.plaintext), random);
      assert.equal(sha256(ciphertext), expected.ciphertext, policy);
      const key = generateKey(masterKey, attributes, random);
      assert.equal(sha256(encodeAttributeKey(key)), expected.key, JSON.stringify(attributes));
      let opened: string | undefined;
      try {
        opened = new TextDecoder().decode(decrypt(key, ciphertext));
      } catch (error) {
        assert.ok(error instanceof AbeUnsatisfiedError, String(error));
      }
      assert.equal(opened, expected.opens ? policies.plaintext : undefined, policy);
    }
  });
});
