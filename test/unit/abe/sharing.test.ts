import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { shake128 } from '@noble/hashes/sha3.js';
import fc from 'fast-check';
import { blake2b256 } from '../../../src/keymgmt/abe/blake2xb.ts';
import { concat, prefixed, Reader } from '../../../src/keymgmt/abe/bytes.ts';
import { decodeCiphertext, encryptCca, openCiphertext } from '../../../src/keymgmt/abe/cca.ts';
import { AbeFormatError } from '../../../src/keymgmt/abe/errors.ts';
import {
  andLeaf,
  type Gate,
  orderGates,
  type ShareSecret,
  satisfyingLeaves,
  shareSecret,
} from '../../../src/keymgmt/abe/formula.ts';
import {
  type Scalar,
  scalarAdd,
  scalarEqual,
  scalarFromInt,
  scalarIsZero,
} from '../../../src/keymgmt/abe/groups.ts';
import {
  AbeDecryptError,
  AbeUnsatisfiedError,
  decrypt,
  encrypt,
  generateKey,
  initAbe,
  parsePolicy,
  setup,
} from '../../../src/keymgmt/abe/index.ts';
import { type RandomBytes, sampleScalar } from '../../../src/keymgmt/abe/sampling.ts';
import { anyTree, render } from './random-policy.ts';

const random: RandomBytes = (length) => Uint8Array.from(randomBytes(length));
const message = new TextEncoder().encode('Be sure to drink your ovaltine!');

/**
 * The sharing of CIRCL before v1.6.4: one input of an `and` gets the gate's whole share, the other one
 * zero. Every satisfying set still sums up to the secret, so every round trip passes.
 */
const brokenShare: ShareSecret = (gates, secret, rand) => {
  const shares: (readonly Scalar[])[] = [];
  shares[2 * gates.length] = secret;
  for (const { kind, in0, in1, out } of orderGates(gates).reverse()) {
    const share = shares[out] ?? [];
    shares[in0] = share;
    shares[in1] = kind === 'or' ? share : share.map(() => scalarFromInt(0));
    // It drew the random share and then lost it.
    if (kind === 'and') for (const _ of share) sampleScalar(rand);
  }
  return shares.slice(0, gates.length + 1);
};

/** The first thing wrong with a sharing: what every correct one must withstand. */
function weakness(gates: readonly Gate[], share: ShareSecret): string | undefined {
  const secret = [sampleScalar(random), sampleScalar(random)];
  const shares = share(gates, secret, random);
  const sum = (leaves: readonly number[]): Scalar[] =>
    secret.map((_, i) =>
      leaves.reduce((total, leaf) => {
        const x = shares[leaf]?.[i];
        assert.ok(x);
        return scalarAdd(total, x);
      }, scalarFromInt(0)),
    );
  const same = (x: readonly Scalar[]): boolean =>
    x.every((a, i) => scalarEqual(a, secret[i] ?? scalarFromInt(0)));
  const n = gates.length + 1;
  for (let set = 1; set < 2 ** n; set += 1) {
    const leaves = Array.from({ length: n }, (_, i) => i).filter((i) => (set >> i) & 1);
    const chosen = Array.from({ length: n }, (_, i) => leaves.includes(i));
    const smallest = satisfyingLeaves(gates, chosen);
    if (smallest !== undefined && !same(sum(smallest))) return 'a satisfying set does not open';
    if (smallest === undefined && same(sum(leaves))) return 'an unsatisfying set opens';
    if (sum(leaves).every(scalarIsZero)) return 'shares that vanish';
  }
  return undefined;
}

describe('ABE secret sharing', () => {
  before(initAbe);

  it('P25 no proper subset of AND shares is the secret or zero', () => {
    for (let n = 2; n <= 8; n += 1) {
      const text = Array.from({ length: n }, (_, i) => `a${i}: 1`).join(' and ');
      const { gates } = parsePolicy(text);
      assert.equal(weakness(gates, shareSecret), undefined, text);
      assert.notEqual(weakness(gates, brokenShare), undefined, 'the check does not see the break');
    }
  });

  it('P25 over random policies no unsatisfying set of shares is the secret', () => {
    fc.assert(
      fc.property(anyTree, (tree) => {
        const { gates } = parsePolicy(render(tree));
        if (gates.length > 7) return;
        assert.equal(weakness(gates, shareSecret), undefined);
        assert.equal(weakness(andLeaf(gates), shareSecret), undefined);
      }),
      { numRuns: 60 },
    );
  });

  it('P25 the Boneh-Katz leaf alone opens nothing, and did with the broken sharing', () => {
    const { publicKey, masterKey } = setup();
    const guest = generateKey(masterKey, { role: 'guest' });
    const admin = generateKey(masterKey, { role: 'admin', dept: 'engineering' });
    for (const text of ['role: admin and dept: engineering', 'role: admin or dept: engineering']) {
      const policy = parsePolicy(text);
      const internal = policy.leaves.length;

      const broken = encryptCca(publicKey, policy, message, random, brokenShare);
      assert.deepEqual(decrypt(admin, broken), message, 'a round trip sees nothing');
      assert.throws(() => decrypt(guest, broken), AbeUnsatisfiedError, 'nor does the local check');
      assert.deepEqual(
        openCiphertext(guest, decodeCiphertext(broken), [internal]),
        message,
        'but a guest opens it',
      );

      const sound = decodeCiphertext(encrypt(publicKey, policy, message));
      assert.throws(() => openCiphertext(guest, sound, [internal]), AbeDecryptError);
      assert.throws(() => openCiphertext(admin, sound, [internal]), AbeDecryptError);
    }
  });

  it('P25 the real policy without the Boneh-Katz leaf opens nothing', () => {
    const { publicKey, masterKey } = setup();
    const key = generateKey(masterKey, { a: '1', b: '1' });
    const ciphertext = decodeCiphertext(encrypt(publicKey, 'a: 1 and b: 1', message));
    assert.deepEqual(openCiphertext(key, ciphertext, [0, 1, 2]), message);
    for (const leaves of [[0, 1], [0, 2], [1, 2], [0], [1], [2]]) {
      assert.throws(() => openCiphertext(key, ciphertext, leaves), AbeDecryptError);
    }
  });

  // The broken sharing above is the real one: with it, CIRCL's golden file of before v1.3.8 comes out.
  it('CIRCL ciphertext_v137, with 16-bit lengths and the broken sharing, still opens', () => {
    const xof = shake128.create({}).update(new Uint8Array(0));
    const drawn: Uint8Array[] = [];
    const stream: RandomBytes = (length) => {
      const bytes = xof.xof(length);
      drawn.push(bytes.slice());
      return bytes;
    };
    const { publicKey, masterKey } = setup(stream);
    drawn.length = 0;
    const policy = parsePolicy('EU: true');
    const ciphertext = encryptCca(publicKey, policy, message, stream, brokenShare);
    const key = generateKey(masterKey, { country: 'NL', EU: 'true' }, stream);

    const { id, body } = decodeCiphertext(ciphertext);
    const reader = new Reader(body, 'body');
    const narrow = concat(prefixed(reader.prefixed(4)), prefixed(reader.prefixed(4)));
    const [seed = new Uint8Array(0)] = drawn;
    const macKey = blake2b256(undefined, new TextEncoder().encode('key computation hash'), seed);
    const v137 = concat(prefixed(id), prefixed(narrow), prefixed(blake2b256(macKey, narrow)));
    assert.equal(
      createHash('sha256').update(v137).digest('hex'),
      '63c153af0dbbf12f929566bb3cf463432a61a75d06043d06e37adb25a929e260',
    );
    assert.deepEqual(decrypt(key, v137), message);
  });

  it('P24 gates that are no tree are refused', () => {
    const gate = (kind: 'and' | 'or', in0: number, in1: number, out: number): Gate => ({
      kind,
      in0,
      in1,
      out,
    });
    orderGates([gate('and', 0, 1, 3), gate('or', 3, 2, 4)]);
    orderGates([gate('or', 3, 2, 4), gate('and', 0, 1, 3)]);
    for (const gates of [
      [gate('and', 0, 0, 2)],
      [gate('and', 0, 2, 2)],
      [gate('and', 0, 1, 1)],
      [gate('and', 0, 1, 3)],
      [gate('and', 0, -1, 2)],
      [gate('and', 0, 1, 3), gate('or', 0, 2, 4)],
      [gate('and', 0, 1, 4), gate('or', 3, 2, 4)],
      [gate('and', 0, 3, 3), gate('or', 1, 2, 4)],
      [gate('and', 0, 5, 4), gate('or', 4, 1, 5), gate('or', 2, 3, 6)],
    ]) {
      assert.throws(() => orderGates(gates), AbeFormatError, JSON.stringify(gates));
    }
  });
});
