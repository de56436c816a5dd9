import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decodeCiphertext, openCiphertext } from '../../../src/keymgmt/abe/cca.ts';
import {
  BK_LABEL,
  COMB_CACHE_MATRICES,
  ORACLE_CACHE_LABELS,
} from '../../../src/keymgmt/abe/constants.ts';
import {
  AbeDecryptError,
  AbeUnsatisfiedError,
  type AttributeKey,
  decrypt,
  encrypt,
  generateKey,
  initAbe,
  type MasterKey,
  type PublicKey,
  setup,
} from '../../../src/keymgmt/abe/index.ts';
import type { AttributePart } from '../../../src/keymgmt/abe/kem.ts';
import { hashValue } from '../../../src/keymgmt/abe/sampling.ts';
import { anyAttributes, anyTree, holds, render, type Tree } from './random-policy.ts';

const message = new TextEncoder().encode('10.0.0.7 is the database');

function part(key: AttributeKey, label: string): AttributePart {
  const found = key.parts.get(label);
  assert.ok(found);
  return found;
}

/** The leaves of a tree, from left to right. */
function leavesOf(node: Tree): Tree[] {
  if (node.kind === 'leaf') return [node];
  if (node.kind === 'not') return leavesOf(node.child);
  return [...leavesOf(node.left), ...leavesOf(node.right)];
}

describe('ABE access control', function () {
  // Two minutes are for machines that do much else at the same time; alone it takes seconds.
  this.timeout(120_000);

  let publicKey: PublicKey;
  let masterKey: MasterKey;

  before(async () => {
    await initAbe();
    ({ publicKey, masterKey } = setup());
  });

  const opens = (key: AttributeKey, ciphertext: Uint8Array): void =>
    assert.deepEqual(decrypt(key, ciphertext), message);

  it('P25 a set of attributes decrypts exactly if it satisfies the policy', () => {
    fc.assert(
      fc.property(anyTree, anyAttributes, (tree, attributes) => {
        const ciphertext = encrypt(publicKey, render(tree), message);
        const key = generateKey(masterKey, attributes);
        if (holds(tree, attributes)) opens(key, ciphertext);
        else assert.throws(() => decrypt(key, ciphertext), AbeUnsatisfiedError);
      }),
      { numRuns: 60 },
    );
  });

  // The local check of the policy is left out: what counts is that the mathematics refuse.
  it('P25 no unsatisfying set of leaves decrypts, whatever the key holder computes with', () => {
    let attacks = 0;
    fc.assert(
      fc.property(anyTree, anyAttributes, fc.infiniteStream(fc.boolean()), (tree, held, coins) => {
        if (holds(tree, held)) return;
        const ciphertext = decodeCiphertext(encrypt(publicKey, render(tree), message));
        const key = generateKey(masterKey, held);
        const usable = leavesOf(tree).flatMap((leaf, i) =>
          leaf.kind === 'leaf' && held[leaf.label] !== undefined ? [i] : [],
        );
        const chosen = usable.filter(() => coins.next().value);
        const internal = ciphertext.policy.leaves.length;
        for (const leaves of [[...usable, internal], [...chosen, internal], [internal]]) {
          attacks += 1;
          assert.throws(() => openCiphertext(key, ciphertext, leaves), AbeDecryptError);
        }
      }),
      { numRuns: 30 },
    );
    assert.ok(attacks > 10);
  });

  it('P25 keys of two holders do not combine', () => {
    const ciphertext = encrypt(publicKey, 'a: 1 and b: 1', message);
    const alice = generateKey(masterKey, { a: '1', b: '0' });
    const bob = generateKey(masterKey, { a: '0', b: '1' });
    opens(generateKey(masterKey, { a: '1', b: '1' }), ciphertext);
    // Every mixture of their parts that satisfies the policy.
    for (const base of [alice, bob]) {
      for (const internal of [alice, bob]) {
        const parts = new Map([
          ['a', part(alice, 'a')],
          ['b', part(bob, 'b')],
          [BK_LABEL, part(internal, BK_LABEL)],
        ]);
        for (const k1 of [alice.k1, bob.k1]) {
          const mixed = { parts, k1, k2: base.k2 };
          assert.throws(() => decrypt(mixed, ciphertext), AbeDecryptError);
        }
      }
    }
  });

  it('P25 the internal wildcard of a key stands for no other attribute', () => {
    const ciphertext = encrypt(publicKey, 'a: 1', message);
    const mallory = generateKey(masterKey, { b: '1' });
    const parts = new Map(mallory.parts).set('a', part(mallory, BK_LABEL));
    assert.throws(() => decrypt({ ...mallory, parts }, ciphertext), AbeDecryptError);
  });

  it('lying about the value of an own attribute does not help', () => {
    const key = generateKey(masterKey, { a: '0', b: '1' });
    const lie = (value: string): AttributeKey => ({
      ...key,
      parts: new Map(key.parts).set('a', { ...part(key, 'a'), scalar: hashValue(value) }),
    });
    const wanted = encrypt(publicKey, 'a: 1 and b: 1', message);
    assert.throws(() => decrypt(key, wanted), AbeUnsatisfiedError);
    assert.throws(() => decrypt(lie('1'), wanted), AbeDecryptError);
    const unwanted = encrypt(publicKey, 'not a: 0', message);
    assert.throws(() => decrypt(key, unwanted), AbeUnsatisfiedError);
    assert.throws(() => decrypt(lie('1'), unwanted), AbeDecryptError);
    opens(lie('0'), encrypt(publicKey, 'not a: 1', message));
  });

  it('negation, alone, repeated and against a positive leaf of the same label', () => {
    const key = generateKey(masterKey, { a: '0' });
    opens(key, encrypt(publicKey, 'not a: 1', message));
    opens(key, encrypt(publicKey, 'not a: 1 and not a: 2 and a: 0', message));
    opens(key, encrypt(publicKey, 'not (a: 1 or a: 2)', message));
    for (const policy of ['not a: 0', 'not a: 1 and not a: 0', 'not b: 1', 'a: 0 and not a: 0']) {
      const ciphertext = encrypt(publicKey, policy, message);
      assert.throws(() => decrypt(key, ciphertext), AbeUnsatisfiedError, policy);
    }
  });

  it('one attribute in many leaves', () => {
    const key = generateKey(masterKey, { a: '1', b: '1' });
    const chain = Array.from({ length: 6 }, () => 'a: 1 and b: 1').join(' and ');
    opens(key, encrypt(publicKey, chain, message));
    assert.throws(
      () => decrypt(generateKey(masterKey, { a: '1' }), encrypt(publicKey, chain, message)),
      AbeUnsatisfiedError,
    );
  });

  it('the largest policy', () => {
    const all = Array.from({ length: 64 }, (_, i) => `${'abc'[i % 3]}: 1`).join(' and ');
    opens(generateKey(masterKey, { a: '1', b: '1', c: '1' }), encrypt(publicKey, all, message));
  });

  it('keys and ciphertexts of another authority', () => {
    const other = setup();
    const ciphertext = encrypt(other.publicKey, 'a: 1', message);
    assert.throws(() => decrypt(generateKey(masterKey, { a: '1' }), ciphertext), AbeDecryptError);
    opens(generateKey(other.masterKey, { a: '1' }), ciphertext);
  });

  it('more labels than the caches hold', () => {
    const half = Math.ceil((Math.max(ORACLE_CACHE_LABELS, COMB_CACHE_MATRICES) * 2) / 3);
    const many = (from: number): Record<string, string> =>
      Object.fromEntries(Array.from({ length: half }, (_, i) => [`label${from + i}`, 'x']));
    // Multiples are made at the second use, of two matrices for each label: more than are kept.
    generateKey(masterKey, many(0));
    const key = generateKey(masterKey, many(0));
    // Points of the labels above go, the first ones first.
    generateKey(masterKey, many(half));
    opens(key, encrypt(publicKey, `label0: x and label${half - 1}: x`, message));
  });

  it('plaintexts of every length around the blocks, and empty', () => {
    const key = generateKey(masterKey, { a: '1' });
    for (const length of [0, 1, 55, 56, 57, 64, 4096, 70_000]) {
      const plaintext = new Uint8Array(length).fill(length);
      assert.deepEqual(decrypt(key, encrypt(publicKey, 'a: 1', plaintext)), plaintext);
    }
  });
});
