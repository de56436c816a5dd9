import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { bls12_381 as noble } from '@noble/curves/bls12-381.js';
import { blake2b256, blake2xb } from '../../../src/keymgmt/abe/blake2xb.ts';
import { concat, prefixed } from '../../../src/keymgmt/abe/bytes.ts';
import { encodeHeader } from '../../../src/keymgmt/abe/codec.ts';
import { BK_LABEL } from '../../../src/keymgmt/abe/constants.ts';
import { gtToBytes, scalarReduce } from '../../../src/keymgmt/abe/groups.ts';
import {
  AbeArgumentError,
  AbeDecryptError,
  AbeFormatError,
  AbePolicyError,
  AbeUnsatisfiedError,
  type AttributeKey,
  decodeAttributeKey,
  decodeMasterKey,
  decodePolicy,
  decodePublicKey,
  decrypt,
  encodeAttributeKey,
  encodeMasterKey,
  encodePolicy,
  encodePublicKey,
  encrypt,
  formatPolicy,
  generateKey,
  initAbe,
  MAX_PLAINTEXT_BYTES,
  type MasterKey,
  type PublicKey,
  parsePolicy,
  policyOf,
  setup,
  wipeAttributeKey,
  wipeMasterKey,
} from '../../../src/keymgmt/abe/index.ts';
import { encapsulate } from '../../../src/keymgmt/abe/kem.ts';
import { ready } from '../../../src/keymgmt/abe/mcl.ts';
import { withBonehKatzLeaf } from '../../../src/keymgmt/abe/policy.ts';

const random = (length: number): Uint8Array => Uint8Array.from(randomBytes(length));
const message = new TextEncoder().encode('10.0.0.7');
const POLICY = 'a: 1 and (b: 2 or not c: 3)';

/** xorshift32, so that a run can be repeated from the seed that a failure prints. */
function generator(seed: number): (below: number) => number {
  let x = seed | 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

/** Runs `attempt`; anything but success or one of our errors fails the test. */
function survives(seed: number, attempt: () => unknown): boolean {
  try {
    attempt();
    return true;
  } catch (error) {
    const ours =
      error instanceof AbeFormatError ||
      error instanceof AbePolicyError ||
      error instanceof AbeDecryptError ||
      error instanceof AbeUnsatisfiedError;
    if (!ours) throw new Error(`seed ${seed}: ${error}`, { cause: error });
    return false;
  }
}

/** `npm run test:fuzz` does a million. */
const FUZZ_INPUTS = Number(process.env['FUZZ_INPUTS'] ?? 200_000);

describe('ABE formats', function () {
  // Two minutes are for machines that do much else at the same time; alone it takes seconds.
  this.timeout(120_000);

  let publicKey: PublicKey;
  let masterKey: MasterKey;
  let key: AttributeKey;
  let ciphertext: Uint8Array;

  // Most of the time of a million inputs would go into stack traces.
  const { stackTraceLimit } = Error;
  after(() => {
    Error.stackTraceLimit = stackTraceLimit;
  });

  before(async () => {
    Error.stackTraceLimit = 0;
    await initAbe();
    ({ publicKey, masterKey } = setup());
    key = generateKey(masterKey, { a: '1', b: '2', c: '9' });
    ciphertext = encrypt(publicKey, POLICY, message);
  });

  const objects = (): {
    name: string;
    bytes: Uint8Array;
    again: (b: Uint8Array) => Uint8Array;
  }[] => [
    {
      name: 'public key',
      bytes: encodePublicKey(publicKey),
      again: (b) => encodePublicKey(decodePublicKey(b)),
    },
    {
      name: 'master key',
      bytes: encodeMasterKey(masterKey),
      again: (b) => encodeMasterKey(decodeMasterKey(b)),
    },
    {
      name: 'attribute key',
      bytes: encodeAttributeKey(key),
      again: (b) => encodeAttributeKey(decodeAttributeKey(b)),
    },
    {
      name: 'policy',
      bytes: encodePolicy(parsePolicy(POLICY)),
      again: (b) => encodePolicy(decodePolicy(b)),
    },
  ];

  it('every object survives its bytes', () => {
    for (const { name, bytes, again } of objects()) assert.deepEqual(again(bytes), bytes, name);
    const copy = decodeAttributeKey(encodeAttributeKey(key));
    const again = encrypt(decodePublicKey(encodePublicKey(publicKey)), POLICY, message);
    assert.deepEqual(decrypt(copy, again), message);
    const remade = generateKey(decodeMasterKey(encodeMasterKey(masterKey)), { a: '1', c: '9' });
    assert.deepEqual(decrypt(remade, ciphertext), message);
    assert.equal(formatPolicy(policyOf(ciphertext)), '(a: 1 and (b: 2 or not c: 3))');
  });

  it('a decoded key does not share memory with its bytes, Buffers included', () => {
    const bytes = Buffer.from(encodeMasterKey(masterKey));
    const decoded = decodeMasterKey(bytes);
    bytes.fill(0);
    assert.deepEqual(encodeMasterKey(decoded), encodeMasterKey(masterKey));
    const keyBytes = Buffer.from(encodeAttributeKey(key));
    const copy = decodeAttributeKey(keyBytes);
    keyBytes.fill(0);
    assert.deepEqual(decrypt(copy, Buffer.from(ciphertext)), message);
  });

  it('P24 truncated and trailing bytes are refused at every length', () => {
    for (const { name, bytes, again } of objects()) {
      assert.throws(() => again(Uint8Array.of(...bytes, 0)), AbeFormatError, name);
      for (let n = 0; n < bytes.length; n += n < 64 ? 1 : 61) {
        assert.throws(() => again(bytes.subarray(0, n)), AbeFormatError, `${name} at ${n}`);
      }
    }
    assert.throws(() => decrypt(key, Uint8Array.of(...ciphertext, 0)), AbeFormatError);
    for (let n = 0; n < ciphertext.length; n += n < 64 ? 1 : 61) {
      assert.throws(() => decrypt(key, ciphertext.subarray(0, n)), AbeFormatError, `at ${n}`);
    }
  });

  it('P24 a decoded object has exactly one encoding, under single-byte changes', () => {
    for (const { name, bytes, again } of objects()) {
      for (let i = 0; i < bytes.length; i += i < 32 ? 1 : 41) {
        for (const flip of [0x01, 0x80]) {
          const changed = Uint8Array.from(bytes);
          changed[i] = (changed[i] ?? 0) ^ flip;
          let encoded: Uint8Array;
          try {
            encoded = again(changed);
          } catch (error) {
            assert.ok(error instanceof AbeFormatError, `${name} at ${i}: ${error}`);
            continue;
          }
          assert.deepEqual(encoded, changed, `${name} at ${i}`);
        }
      }
    }
  });

  it('a changed ciphertext never opens, wherever the change is', () => {
    let refused = 0;
    for (let i = 0; i < ciphertext.length; i += i < 60 || i > ciphertext.length - 48 ? 1 : 41) {
      const changed = Uint8Array.from(ciphertext);
      changed[i] = (changed[i] ?? 0) ^ (1 << (i % 8));
      assert.throws(
        () => decrypt(key, changed),
        (error) =>
          error instanceof AbeFormatError ||
          error instanceof AbeDecryptError ||
          error instanceof AbeUnsatisfiedError,
        `at ${i}`,
      );
      refused += 1;
    }
    assert.ok(refused > 100);
  });

  it('valid points, exchanged or shifted, do not open either', () => {
    const other = encrypt(publicKey, POLICY, message);
    const where = (needle: number): number => {
      // c1 is the first matrix of 4 x 1 after the policy; the c3 follow as 3 x 1.
      const mark = Uint8Array.of(needle, 0, 1, 0);
      const at = Buffer.from(ciphertext).indexOf(mark, 100);
      assert.ok(at > 0);
      return at + mark.length;
    };
    const parts = [
      [where(4), 192],
      [where(3), 96],
    ] as const;
    for (const [at, size] of parts) {
      const exchanged = Uint8Array.from(ciphertext);
      exchanged.set(other.subarray(at, at + size), at);
      assert.throws(() => decrypt(key, exchanged), AbeDecryptError);
      const swapped = Uint8Array.from(ciphertext);
      swapped.set(ciphertext.subarray(at + size, at + 2 * size), at);
      swapped.set(ciphertext.subarray(at, at + size), at + size);
      assert.throws(() => decrypt(key, swapped), AbeDecryptError);
    }
    const [at] = parts[1];
    const negated = Uint8Array.from(ciphertext);
    const point = noble.G1.Point.fromBytes(ciphertext.subarray(at, at + 96)).negate();
    negated.set(point.toBytes(false), at);
    assert.throws(() => decrypt(key, negated), AbeDecryptError);
  });

  // What the transform of Boneh and Katz rests on: under somebody else's id, or with a MAC key that is not
  // the seed's, nothing opens even if all the rest is as it should be.
  it('an id or a tag that is not of the seed inside does not open', () => {
    const hash = (text: string, seed: Uint8Array): Uint8Array =>
      blake2b256(undefined, new TextEncoder().encode(text), seed);
    const compose = (idSeed: Uint8Array, macSeed: Uint8Array, seed: Uint8Array): Uint8Array => {
      const policy = parsePolicy(POLICY);
      const id = hash('id computation hash', idSeed);
      const extended = withBonehKatzLeaf(policy, scalarReduce(id));
      const { header, key: shared } = encapsulate(publicKey, extended, random);
      const opened = concat(seed, message);
      const stream = blake2xb(blake2b256(undefined, gtToBytes(shared)), new Uint8Array(0));
      const envelope = stream.read(opened.length).map((byte, i) => byte ^ (opened[i] ?? 0));
      const head = concat(prefixed(encodePolicy(policy)), encodeHeader(header));
      const body = concat(prefixed(head, 4), prefixed(envelope, 4));
      const tag = blake2b256(hash('key computation hash', macSeed), body);
      const version = new TextEncoder().encode('v1.3.8');
      return concat(version, prefixed(id), prefixed(body, 4), prefixed(tag));
    };
    const [seed, other] = [random(72), random(72)];
    assert.deepEqual(decrypt(key, compose(seed, seed, seed)), message);
    assert.throws(() => decrypt(key, compose(other, seed, seed)), AbeDecryptError);
    assert.throws(() => decrypt(key, compose(seed, other, seed)), AbeDecryptError);
    assert.throws(() => decrypt(key, compose(seed, seed, other)), AbeDecryptError);
  });

  it('a changed key does not open', () => {
    const bytes = encodeAttributeKey(key);
    const other = encodeAttributeKey(generateKey(masterKey, { a: '1', b: '2', c: '9' }));
    // Four attributes with labels of 1, 1, 1 and 39 bytes come first, then k1 and k2.
    const k1 = 2 + 2 + 3 * (2 + 1 + 33) + (2 + 39 + 33) + 2 + 4;
    const k2 = k1 + 3 * 192 + 2 + 4;
    const k3 = k2 + 4 * 96 + 2 + (2 + 1) + 2 + 4;
    for (const [at, size] of [
      [k1, 192],
      [k2, 96],
      [k3, 96],
    ] as const) {
      const changed = Uint8Array.from(bytes);
      changed.set(other.subarray(at, at + size), at);
      assert.throws(() => decrypt(decodeAttributeKey(changed), ciphertext), AbeDecryptError);
    }
    assert.deepEqual(decrypt(decodeAttributeKey(other), ciphertext), message);
  });

  it('P24 a leaf whose scalar is not the hash of its value, and other lies in a policy', () => {
    const bytes = encodePolicy(parsePolicy('role: guest'));
    const forged = Buffer.from(bytes);
    forged.write('admin', forged.indexOf('guest'));
    assert.throws(() => decodePolicy(forged), /not the hash of the value/);
    const internal = Buffer.from(bytes);
    internal.write('ro-e', internal.indexOf('role'));
    assert.throws(() => decodePolicy(internal), /characters/);
    const flag = Buffer.from(bytes);
    flag[flag.length - 1] = 2;
    assert.throws(() => decodePolicy(flag), /neither 0 nor 1/);
    const gates = Buffer.from(bytes);
    gates.writeUInt16LE(65_535, 2);
    assert.throws(() => decodePolicy(gates), /65535 gates/);
  });

  it('P24 a master key whose A is not of the form of the assumption', () => {
    const bytes = encodeMasterKey(masterKey);
    for (const entry of [1, 2, 4, 5]) {
      const forged = Uint8Array.from(bytes);
      forged[2 + 4 + 32 * entry + 31] = 7;
      assert.throws(() => decodeMasterKey(forged), /form of the assumption/);
    }
  });

  it('P24 survives generated inputs with typed errors', () => {
    const seed = Date.now() | 0;
    const below = generator(seed);
    const words = [
      'a',
      'role',
      '1',
      'and',
      'or',
      'not',
      '(',
      ')',
      ':',
      ' ',
      '\n',
      '-',
      '\u00fc',
      '',
    ];
    let parsed = 0;
    for (let i = 0; i < 0.4 * FUZZ_INPUTS; i += 1) {
      let text = '';
      for (let n = below(9); n >= 0; n -= 1) text += words[below(words.length)];
      if (survives(seed, () => parsePolicy(text))) parsed += 1;
    }
    assert.ok(parsed > 100, 'some texts are policies');

    const samples = [
      ...objects().map(({ bytes, again }) => ({ bytes, parse: again })),
      { bytes: ciphertext, parse: (b: Uint8Array) => policyOf(b) },
    ];
    for (let i = 0; i < 0.6 * FUZZ_INPUTS; i += 1) {
      const sample = samples[i % samples.length];
      assert.ok(sample);
      const length = below(8) === 0 ? below(sample.bytes.length) : 24 + below(200);
      const mutated = sample.bytes.slice(0, below(5000) === 0 ? sample.bytes.length : length);
      for (let n = below(3); n >= 0; n -= 1)
        mutated[below(Math.min(mutated.length, 260))] = below(256);
      survives(seed, () => sample.parse(mutated));
    }
  });

  it('arguments that the scheme cannot express', () => {
    const bad = (attributes: Record<string, string>): void =>
      assert.throws(() => generateKey(masterKey, attributes), AbeArgumentError);
    bad({});
    bad({ '': '1' });
    bad({ a: '' });
    bad({ 'a-b': '1' });
    bad({ a: 'x y' });
    bad({ and: '1' });
    bad({ a: 'not' });
    bad({ ['a'.repeat(65)]: '1' });
    bad({ a: 'x'.repeat(257) });
    bad({ 'internal-boneh-katz-transform-attribute': '1' });
    bad(Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`a${i}`, '1'])));
    const long = new Uint8Array(MAX_PLAINTEXT_BYTES + 1);
    assert.throws(() => encrypt(publicKey, 'a: 1', long), AbeArgumentError);
  });

  it('wiped keys hold nothing', () => {
    const own = setup();
    const mine = generateKey(own.masterKey, { a: '1' });
    wipeMasterKey(own.masterKey);
    assert.ok(own.masterKey.prfKey.every((byte) => byte === 0));
    assert.ok(
      encodeMasterKey(own.masterKey)
        .subarray(-16 - 2 - 4 - 128)
        .every((b, i) => i < 4 || b < 17),
    );
    wipeAttributeKey(mine);
    for (const { raw } of [...mine.k1.entries, ...mine.k2.entries]) {
      assert.ok(raw.every((byte) => byte === 0));
    }
  });

  it('a wiped key leaves none of the multiples that decrypting made of its points', () => {
    const mine = decodeAttributeKey(encodeAttributeKey(generateKey(masterKey, { a: '1' })));
    const ciphertext = encrypt(publicKey, 'a: 1', message);
    const points = (mine.parts.get(BK_LABEL)?.k3.entries ?? []).map(({ raw }) => raw.slice());
    assert.equal(points.length, 4);
    // What is allocated lies above the scratch block; below is the compiled code's stack, out of reach.
    const found = (): number => {
      const { mcl, scratch } = ready();
      const allocated = Buffer.from(mcl.wasmMemory.buffer, scratch);
      return points.filter((point) => allocated.includes(Buffer.from(point))).length;
    };
    for (let i = 0; i < 3; i += 1) assert.deepEqual(decrypt(mine, ciphertext), message);
    assert.equal(found(), 4);
    wipeAttributeKey(mine);
    assert.equal(found(), 0);
  });
});
