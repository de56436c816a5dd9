import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { SrpEngine, type SrpLogin, SrpValueError } from '../../../../src/admission/srp/engine.ts';
import { GROUP_2048, SUITE_SRP_2048 } from '../../../../src/admission/srp/group.ts';
import { dhModExp, inRange, keyModExp } from '../../../../src/admission/srp/modexp.ts';

const LENGTH = 256;
const N = BigInt(`0x${Buffer.from(GROUP_2048.N).toString('hex')}`);
const element = (value: bigint, length = LENGTH): Uint8Array =>
  Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');
const number = (raw: Uint8Array): bigint => BigInt(`0x${Buffer.from(raw).toString('hex')}`);

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  let square = base;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % N;
    square = (square * square) % N;
  }
  return result;
}

/** Runs `work` while nothing can be made a BigInt, whose arithmetic takes time that depends on secrets. */
function withoutBigInt<T>(work: () => T): T {
  const real = globalThis.BigInt;
  const refuse = (): never => {
    throw new Error('a BigInt in modular exponentiation');
  };
  Reflect.set(globalThis, 'BigInt', refuse);
  try {
    return work();
  } finally {
    Reflect.set(globalThis, 'BigInt', real);
  }
}

const modExps = { dhModExp: dhModExp(GROUP_2048), keyModExp: keyModExp(GROUP_2048) };
const engine = new SrpEngine(SUITE_SRP_2048, modExps.dhModExp);

describe('modular exponentiation', () => {
  for (const [name, modExp] of Object.entries(modExps)) {
    it(`P4 ${name} is OpenSSL's and gives what BigInt gives, always ${LENGTH} bytes`, () => {
      fc.assert(
        fc.property(
          fc.bigInt({ min: 2n, max: N - 2n }),
          fc.uint8Array({ minLength: 1, maxLength: 80 }).filter((e) => e.some((byte) => byte > 0)),
          (base, exponent) => {
            const expected = power(base, number(exponent));
            fc.pre(expected !== 1n);
            const result = withoutBigInt(() => modExp(element(base), exponent));
            assert.equal(result.length, LENGTH);
            assert.equal(number(result), expected);
          },
        ),
        { numRuns: 30 },
      );
    });

    it(`${name} pads results that begin with zero bytes`, () => {
      const result = modExp(element(2n), Uint8Array.of(5));
      assert.equal(result.length, LENGTH);
      assert.equal(number(result), 32n);
    });

    it(`${name} refuses bases 0, 1, N-1, N, those above, and other lengths`, () => {
      const bad = [0n, 1n, N - 1n, N, N + 5n].map((value) => element(value));
      for (const base of [...bad, element(5n, 255), element(5n, 257), new Uint8Array()]) {
        assert.throws(() => modExp(base, Uint8Array.of(3)), RangeError);
      }
    });

    it(`${name} refuses exponent 0 and results of 1, rather than give nothing`, () => {
      assert.throws(() => modExp(element(2n), new Uint8Array(32)), RangeError);
      // The order of a square is q = (N-1)/2, so that 4^q = 1.
      assert.throws(() => modExp(element(4n), element((N - 1n) / 2n)), RangeError);
    });
  }

  it('inRange holds for 2 to N-2 of the full length only', () => {
    for (const value of [2n, 3n, 256n, N - 2n]) assert.ok(inRange(GROUP_2048, element(value)));
    for (const value of [0n, 1n, N - 1n, N, N + 1n]) {
      assert.ok(!inRange(GROUP_2048, element(value)));
    }
    assert.ok(!inRange(GROUP_2048, element(2n, 255)));
  });
});

describe('SRP engine', () => {
  const login: SrpLogin = { identity: 'alice', salt: randomBytes(32) };
  const x = engine.x(login, Buffer.from('secret'));
  const verifier = engine.verifier(x);

  function handshake(secrets: { a: Uint8Array; b: Uint8Array }, password = 'secret') {
    const { a, b } = secrets;
    const A = engine.clientPublic(a);
    const B = engine.serverPublic(verifier, b);
    const own = { a, A, x: engine.x(login, Buffer.from(password)) };
    const client = engine.clientSession(login, own, B);
    const server = engine.serverSession(login, { verifier, b, B }, A, client.M1);
    return { A, B, client, server };
  }

  const scalar = fc
    .uint8Array({ minLength: 32, maxLength: 32 })
    .filter((e) => e.some((byte) => byte > 0));

  it('agrees with itself on key and proofs for any secrets and exponents', () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 40 }),
        fc.uint8Array({ maxLength: 64 }),
        scalar,
        scalar,
        (identity, password, a, b) => {
          const who = { identity, salt: login.salt };
          const secret = engine.x(who, password);
          const v = engine.verifier(secret);
          const A = engine.clientPublic(a);
          const B = engine.serverPublic(v, b);
          const client = engine.clientSession(who, { a, A, x: secret }, B);
          const server = engine.serverSession(who, { verifier: v, b, B }, A, client.M1);
          assert.deepEqual(server?.key, client.key);
          assert.deepEqual(server?.M2, client.M2);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('carries leading zeros of A, B and S through padding and hashes', () => {
    const zeroIn = { A: 0, B: 0 };
    // One in 256 has a leading zero byte; exponents are tried in order, so this always ends.
    for (let i = 1; zeroIn.A === 0 || zeroIn.B === 0; i++) {
      const exponent = element(BigInt(i), 32);
      const other = element(7n, 32);
      if (zeroIn.A === 0 && engine.clientPublic(exponent)[0] === 0) {
        const { client, server } = handshake({ a: exponent, b: other });
        assert.deepEqual(server?.key, client.key);
        zeroIn.A = i;
      }
      if (zeroIn.B === 0 && engine.serverPublic(verifier, exponent)[0] === 0) {
        const { client, server } = handshake({ a: other, b: exponent });
        assert.deepEqual(server?.key, client.key);
        zeroIn.B = i;
      }
    }
    for (let i = 2, found = false; !found; i++) {
      const [a, b] = [element(BigInt(i), 32), element(9n, 32)];
      const [A, B] = [engine.clientPublic(a), engine.serverPublic(verifier, b)];
      if (engine.serverPremaster({ verifier, b, B }, A)[0] !== 0) continue;
      const { client, server } = handshake({ a, b });
      assert.deepEqual(server?.key, client.key);
      found = true;
    }
  });

  it('P2 the super-peer rejects A of 0, N, kN, 1, N-1, above N, empty and of other lengths', () => {
    const b = randomBytes(32);
    const B = engine.serverPublic(verifier, b);
    const long = (value: bigint) => element(value, 257);
    const values = {
      zero: element(0n),
      one: element(1n),
      'N-1': element(N - 1n),
      N: element(N),
      'N+1': element(N + 1n),
      'above N': element(2n ** 2048n - 1n),
      '2N': long(2n * N),
      '7N': long(7n * N),
      empty: new Uint8Array(),
      short: element(5n, 255),
      long: long(5n),
      huge: new Uint8Array(500_000).fill(7),
    };
    for (const [name, A] of Object.entries(values)) {
      assert.throws(
        () => engine.serverSession(login, { verifier, b, B }, A, new Uint8Array(32)),
        SrpValueError,
        name,
      );
    }
  });

  it('P2 the member rejects B of 0, N, 1, N-1, above N and of other lengths', () => {
    const a = randomBytes(32);
    const own = { a, A: engine.clientPublic(a), x };
    const values = [0n, 1n, N - 1n, N, N + 2n, 2n ** 2048n - 1n].map((value) => element(value));
    for (const B of [...values, element(2n * N, 257), element(9n, 255), new Uint8Array()]) {
      assert.throws(() => engine.clientSession(login, own, B), SrpValueError);
    }
  });

  it('P2 the member rejects a B that leaves nothing but the masked verifier', () => {
    const a = randomBytes(32);
    // B = k g^x makes the base of S zero: the server had no b.
    const B = element((number(engine.k) * number(verifier)) % N);
    const own = { a, A: engine.clientPublic(a), x };
    assert.throws(() => engine.clientSession(login, own, B), SrpValueError);
  });

  it('P2 u = 0 stops the run at either end', () => {
    // Nobody knows an A and a B whose hash is zero, so this engine makes one up.
    class ZeroScrambler extends SrpEngine {
      override scrambler(): Uint8Array {
        return new Uint8Array(32);
      }
    }
    const broken = new ZeroScrambler(SUITE_SRP_2048, modExps.dhModExp);
    const [a, b] = [randomBytes(32), randomBytes(32)];
    const [A, B] = [engine.clientPublic(a), engine.serverPublic(verifier, b)];
    const isU = (error: unknown): boolean =>
      error instanceof SrpValueError && /^u /.test(error.message);
    assert.throws(() => broken.clientSession(login, { a, A, x }, B), isU);
    assert.throws(
      () => broken.serverSession(login, { verifier, b, B }, A, new Uint8Array(32)),
      isU,
    );
  });

  it('P2 no M2 exists after a bad M1', () => {
    const secrets = { a: randomBytes(32), b: randomBytes(32) };
    assert.equal(handshake(secrets, 'wrong').server, undefined);
    const { A, B, client } = handshake(secrets);
    const own = { verifier, b: secrets.b, B };
    for (let bit = 0; bit < 256; bit += 17) {
      const M1 = Uint8Array.from(client.M1);
      M1[bit >> 3] = (M1[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.equal(engine.serverSession(login, own, A, M1), undefined);
    }
    const prefixed = Buffer.concat([new Uint8Array(8), client.M1]);
    for (const M1 of [prefixed, client.M1.subarray(1), new Uint8Array()]) {
      assert.equal(engine.serverSession(login, own, A, M1), undefined);
    }
  });

  it('takes ephemeral exponents of 32 bytes only', () => {
    for (const length of [0, 31, 33]) {
      assert.throws(() => engine.clientPublic(new Uint8Array(length).fill(1)), RangeError);
      assert.throws(
        () => engine.serverPublic(verifier, new Uint8Array(length).fill(1)),
        RangeError,
      );
    }
  });
});
