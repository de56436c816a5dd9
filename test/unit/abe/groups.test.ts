import assert from 'node:assert/strict';
import { bls12_381 as noble } from '@noble/curves/bls12-381.js';
import fc from 'fast-check';
import { prepareCombs, sumG1, sumG2 } from '../../../src/keymgmt/abe/comb.ts';
import { AbeFormatError } from '../../../src/keymgmt/abe/errors.ts';
import * as ours from '../../../src/keymgmt/abe/groups.ts';
import { initAbe } from '../../../src/keymgmt/abe/mcl.ts';

const { Fp, Fp2, Fp12, Fr } = noble.fields;
const text = new TextEncoder();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A big integer as `length` bytes, big endian. */
function be(n: bigint, length: number): Uint8Array {
  return Uint8Array.from(Buffer.from(n.toString(16).padStart(2 * length, '0'), 'hex'));
}
const scalar = (n: bigint): ours.Scalar => {
  const s = ours.scalarFromBytes(be(n, 32));
  assert.ok(s);
  return s;
};
const anyScalar = fc.bigInt({ min: 1n, max: Fr.ORDER - 1n });
const g1Of = (n: bigint) => noble.G1.Point.BASE.multiply(n);
const g2Of = (n: bigint) => noble.G2.Point.BASE.multiply(n);

/** noble's twelve coordinates in the reversed order of the wire. */
function reversed(fp12: Uint8Array): Uint8Array {
  const parts = Array.from({ length: 12 }, (_, i) => fp12.subarray(48 * i, 48 * i + 48));
  return Uint8Array.from(Buffer.concat(parts.reverse()));
}

function refused(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array, why: RegExp): void {
  assert.throws(
    () => decode(bytes),
    (error) => error instanceof AbeFormatError && why.test(error.message),
  );
}

describe('ABE groups: mcl against noble', () => {
  before(initAbe);

  it('scalars', () => {
    fc.assert(
      fc.property(anyScalar, anyScalar, (a, b) => {
        const [x, y] = [scalar(a), scalar(b)];
        const same = (got: ours.Scalar, want: bigint) =>
          assert.equal(hex(ours.scalarToBytes(got)), hex(be(want, 32)));
        same(x, a);
        same(ours.scalarAdd(x, y), Fr.add(a, b));
        same(ours.scalarSub(x, y), Fr.sub(a, b));
        same(ours.scalarMul(x, y), Fr.mul(a, b));
        same(ours.scalarNeg(x), Fr.neg(a));
        same(ours.scalarInv(x), Fr.inv(a));
      }),
    );
  });

  it('scalars at and above the group order are refused, and reduced where asked', () => {
    assert.equal(ours.scalarFromBytes(be(Fr.ORDER, 32)), undefined);
    assert.equal(ours.scalarFromBytes(new Uint8Array(32).fill(0xff)), undefined);
    assert.equal(ours.scalarFromBytes(new Uint8Array(31)), undefined);
    assert.equal(ours.scalarFromBytes(new Uint8Array(33)), undefined);
    assert.ok(ours.scalarFromBytes(be(Fr.ORDER - 1n, 32)));
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 48 }), (bytes) => {
        const want = BigInt(`0x${hex(bytes)}`) % Fr.ORDER;
        assert.equal(hex(ours.scalarToBytes(ours.scalarReduce(bytes))), hex(be(want, 32)));
      }),
    );
  });

  it('points: bytes, sums, products, also in constant time', () => {
    const [base1, base2] = [ours.g1Generator(), ours.g2Generator()];
    fc.assert(
      fc.property(anyScalar, anyScalar, (a, b) => {
        const [x, y] = [scalar(a), scalar(b)];
        const [p, q] = [g1Of(a), g1Of(b)];
        const same1 = (got: ours.G1, want: typeof p) =>
          assert.equal(hex(ours.g1ToBytes(got)), hex(want.toBytes(false)));
        same1(ours.g1FromBytes(p.toBytes(false)), p);
        same1(ours.g1MulSecret(base1, x), p);
        same1(ours.g1Mul(base1, x), p);
        same1(ours.g1Neg(ours.g1Mul(base1, x)), p.negate());
        const [gotP, gotQ] = [ours.g1Mul(base1, x), ours.g1Mul(base1, y)];
        same1(ours.g1Add(gotP, gotQ), p.add(q));
        same1(ours.g1MultiMul([gotP, gotQ, base1], [y, x, x]), g1Of(Fr.create(2n * a * b + a)));

        const [s, t] = [g2Of(a), g2Of(b)];
        const same2 = (got: ours.G2, want: typeof s) =>
          assert.equal(hex(ours.g2ToBytes(got)), hex(want.toBytes(false)));
        same2(ours.g2FromBytes(s.toBytes(false)), s);
        const [gotS, gotT] = [ours.g2MulSecret(base2, x), ours.g2MulSecret(base2, y)];
        same2(gotS, s);
        same2(ours.g2Add(gotS, gotT), s.add(t));
        same2(ours.g2MultiMul([gotS, base2], [y, x]), g2Of(Fr.create(a * b + a)));
      }),
      { numRuns: 5 },
    );
  });

  it('sums by combs equal sums by mcl, also for the smallest and largest scalars', () => {
    const points1 = [5n, 6n].map((n) => ours.g1Mul(ours.g1Generator(), scalar(n)));
    const points2 = [5n, 6n].map((n) => ours.g2MulSecret(ours.g2Generator(), scalar(n)));
    const of1 = { rows: 1, columns: 2, entries: points1 };
    const of2 = { rows: 1, columns: 2, entries: points2 };
    // Combs are made at the second announcement.
    prepareCombs(of1, of2);
    prepareCombs(of1, of2);
    const edges = [0n, 1n, 2n, 2n ** 37n, 2n ** 222n, 2n ** 254n, Fr.ORDER - 1n];
    const any = fc.oneof(fc.constantFrom(...edges), anyScalar);
    fc.assert(
      fc.property(any, any, (a, b) => {
        const by = [scalar(a), scalar(b)] as const;
        const got1 = sumG1(by.map((x, entry) => ({ of: of1, entry, by: x })));
        assert.ok(ours.g1Equal(got1, ours.g1MultiMul(points1, by)));
        const got2 = sumG2(by.map((x, entry) => ({ of: of2, entry, by: x })));
        assert.ok(ours.g2Equal(got2, ours.g2MultiMul(points2, by)));
      }),
    );
  });

  it('pairings and their products, also of more pairs than fit one call', () => {
    const [a, b, c] = [3n, Fr.ORDER - 5n, 1234567890123456789n];
    const pairs = [a, b, c].map((n) => ({
      p: ours.g1Mul(ours.g1Generator(), scalar(n)),
      q: ours.g2MulSecret(ours.g2Generator(), scalar(Fr.sqr(n))),
    }));
    const want = noble.pairingBatch([a, b, c].map((n) => ({ g1: g1Of(n), g2: g2Of(Fr.sqr(n)) })));
    const got = ours.pairingProduct(pairs);
    assert.equal(hex(ours.gtToBytes(got)), hex(reversed(Fp12.toBytes(want))));
    assert.ok(ours.gtEqual(ours.gtFromBytes(ours.gtToBytes(got)), got));

    const many = Array.from({ length: 37 }, () => pairs).flat();
    const power = Fp12.pow(want, 37n);
    assert.equal(
      hex(ours.gtToBytes(ours.pairingProduct(many))),
      hex(reversed(Fp12.toBytes(power))),
    );
    const [u, v] = [scalar(17n), scalar(20n)];
    assert.ok(ours.gtEqual(ours.gtMultiPow([got, got], [u, v]), ours.pairingProduct(many)));
  });

  it('hash_to_curve: the vectors of RFC 9380 J.9.1', () => {
    const dst = text.encode('QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_');
    const vectors = {
      '':
        '052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1' +
        '08ba738453bfed09cb546dbb0783dbb3a5f1f566ed67bb6be0e8c67e2e81a4cc68ee29813bb7994998f3eae0c9c6a265',
      abc:
        '03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903' +
        '0b9c15f3fe6e5cf4211f346271d7b01c8f3b28be689c8429c85b67af215533311f0b8dfaaa154fa6b88176c229f2885d',
      abcdef0123456789:
        '11e0b079dea29a68f0383ee94fed1b940995272407e3bb916bbf268c263ddd57a6a27200a784cbc248e84f357ce82d98' +
        '03a87ae2caf14e8ee52e51fa2ed8eefe80f02457004ba4d486d6aa1f517c0889501dc7413753f9599b099ebcbbd2d709',
    };
    for (const [message, want] of Object.entries(vectors)) {
      assert.equal(hex(ours.g1ToBytes(ours.g1Hash(text.encode(message), dst))), want);
    }
  });

  it('hash_to_curve under the tags of the scheme', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(2), fc.nat(1), (message, i, j) => {
        for (const name of ['a', 'b']) {
          const tag = `${name} matrix entry [${i}, ${j}]`;
          const want = noble.G1.hashToCurve(message, { DST: tag });
          const got = ours.g1Hash(message, text.encode(tag));
          assert.equal(hex(ours.g1ToBytes(got)), hex(want.toBytes(false)));
        }
      }),
      { numRuns: 5 },
    );
  });
});

/** A point of the curve with a small x, which is hardly ever in the subgroup. */
function curvePoint1() {
  for (let x = 5n; ; x += 1n) {
    const square = Fp.add(Fp.pow(x, 3n), 4n);
    if (Fp.pow(square, (Fp.ORDER - 1n) / 2n) !== 1n) continue;
    return noble.G1.Point.fromAffine({ x, y: Fp.sqrt(square) });
  }
}

function curvePoint2() {
  for (let n = 1n; ; n += 1n) {
    const x = Fp2.fromBigTuple([n, 1n]);
    const square = Fp2.add(Fp2.mul(Fp2.sqr(x), x), Fp2.fromBigTuple([4n, 4n]));
    try {
      return noble.G2.Point.fromAffine({ x, y: Fp2.sqrt(square) });
    } catch {
      // No point has this x.
    }
  }
}

interface CurvePoint<Self> {
  add(other: Self): Self;
  double(): Self;
  is0(): boolean;
}

/** Double and add, for scalars beyond the group order. */
function times<P extends CurvePoint<P>>(point: P, scalar: bigint, zero: P): P {
  let product = zero;
  for (const bit of scalar.toString(2)) {
    product = product.double();
    if (bit === '1') product = product.add(point);
  }
  return product;
}

/** A multiple of `point` that has this order, which is a prime divisor of the cofactor. */
function ofOrder<P extends CurvePoint<P>>(
  order: bigint,
  { ZERO, CURVE }: { ZERO: P; CURVE(): { h: bigint; n: bigint } },
  point: P,
): P {
  const { h, n } = CURVE();
  let rest = h * n;
  while (rest % order === 0n) rest /= order;
  let multiple = times(point, rest, ZERO);
  for (let next = multiple; !next.is0(); next = times(next, order, ZERO)) multiple = next;
  assert.ok(!multiple.is0() && times(multiple, order, ZERO).is0());
  return multiple;
}

describe('ABE groups: bytes that are not points', () => {
  before(initAbe);
  const g1 = g1Of(7n).toBytes(false);
  const g2 = g2Of(7n).toBytes(false);

  it('P24 every encoding of infinity, canonical or not', () => {
    for (const [bytes, decode] of [
      [96, ours.g1FromBytes],
      [192, ours.g2FromBytes],
    ] as const) {
      for (const first of [0x00, 0x40, 0xc0, 0xe0, 0x80]) {
        for (const last of [0, 1]) {
          const infinity = new Uint8Array(bytes);
          infinity[0] = first;
          infinity[bytes - 1] = last;
          refused(decode, infinity, /canonical|curve|twist/);
        }
      }
    }
  });

  it('P24 compressed points, wrong lengths and trailing bytes', () => {
    for (const [point, compressed, decode] of [
      [g1, g1Of(7n).toBytes(true), ours.g1FromBytes],
      [g2, g2Of(7n).toBytes(true), ours.g2FromBytes],
    ] as const) {
      refused(decode, compressed, /canonical/);
      refused(decode, point.subarray(1), /canonical/);
      refused(decode, Uint8Array.of(...point, 0), /canonical/);
      refused(decode, new Uint8Array(0), /canonical/);
    }
  });

  it('P24 flag bits and coordinates that are not below p', () => {
    for (const bit of [0x80, 0x40, 0x20]) {
      for (const [point, decode] of [
        [g1, ours.g1FromBytes],
        [g2, ours.g2FromBytes],
      ] as const) {
        for (let at = 0; at < point.length; at += 48) {
          const flagged = Uint8Array.from(point);
          flagged[at] = (flagged[at] ?? 0) | bit;
          refused(decode, flagged, /canonical/);
        }
      }
    }
    // The same x, written as x + p where that still fits 48 bytes.
    const { x, y } = g1Of(7n).toAffine();
    refused(ours.g1FromBytes, Uint8Array.of(...be(x + Fp.ORDER, 48), ...be(y, 48)), /canonical/);
    refused(ours.g1FromBytes, Uint8Array.of(...be(Fp.ORDER, 48), ...be(y, 48)), /canonical/);
  });

  it('P24 points off the curve', () => {
    const off1 = Uint8Array.from(g1);
    off1[95] = (off1[95] ?? 0) ^ 1;
    refused(ours.g1FromBytes, off1, /not a point of the curve/);
    const off2 = Uint8Array.from(g2);
    off2[191] = (off2[191] ?? 0) ^ 1;
    refused(ours.g2FromBytes, off2, /not a point of the twist/);
  });

  // mcl does not multiply by r: its check by an endomorphism must find the smallest cofactors out, too.
  it('P24 points of the group plus a point of small order', () => {
    const add1 = (point: typeof noble.G1.Point.BASE) => g1Of(7n).add(point);
    const add2 = (point: typeof noble.G2.Point.BASE) => g2Of(7n).add(point);
    for (const order of [3n, 11n, 10_177n]) {
      const small = ofOrder(order, noble.G1.Point, curvePoint1());
      for (const point of [small, add1(small)]) {
        assert.ok(!point.isTorsionFree());
        const { x, y } = point.toAffine();
        refused(ours.g1FromBytes, Uint8Array.of(...be(x, 48), ...be(y, 48)), /wrong subgroup/);
      }
    }
    for (const order of [13n, 23n, 2713n]) {
      const small = ofOrder(order, noble.G2.Point, curvePoint2());
      for (const point of [small, add2(small)]) {
        assert.ok(!point.isTorsionFree());
        const { x, y } = point.toAffine();
        const bytes = [x.c1, x.c0, y.c1, y.c0].flatMap((c) => [...be(c, 48)]);
        refused(ours.g2FromBytes, Uint8Array.from(bytes), /wrong subgroup/);
      }
    }
  });

  it('P24 points of the curve outside the subgroup', () => {
    let found1 = 0;
    for (let x = 1n; found1 < 3; x += 1n) {
      const square = Fp.add(Fp.pow(x, 3n), 4n);
      if (Fp.pow(square, (Fp.ORDER - 1n) / 2n) !== 1n) continue;
      const y = Fp.sqrt(square);
      const point = noble.G1.Point.fromAffine({ x, y });
      if (point.isTorsionFree()) continue;
      refused(ours.g1FromBytes, Uint8Array.of(...be(x, 48), ...be(y, 48)), /wrong subgroup/);
      found1 += 1;
    }
    // (0, 2) has order 3: the smallest subgroup there is.
    refused(ours.g1FromBytes, Uint8Array.of(...be(0n, 48), ...be(2n, 48)), /wrong subgroup/);
    let found2 = 0;
    for (let n = 1n; found2 < 3; n += 1n) {
      const x = Fp2.fromBigTuple([n, 1n]);
      const square = Fp2.add(Fp2.mul(Fp2.sqr(x), x), Fp2.fromBigTuple([4n, 4n]));
      let y: typeof x;
      try {
        y = Fp2.sqrt(square);
      } catch {
        continue;
      }
      const bytes = [x.c1, x.c0, y.c1, y.c0].flatMap((c) => [...be(c, 48)]);
      refused(ours.g2FromBytes, Uint8Array.from(bytes), /wrong subgroup/);
      found2 += 1;
    }
  });

  it('P24 elements of the target field outside the target group', () => {
    const bytes = (element: typeof Fp12.ONE): Uint8Array => reversed(Fp12.toBytes(element));
    const e = noble.pairing(noble.G1.Point.BASE, noble.G2.Point.BASE);
    assert.ok(ours.gtFromBytes(bytes(e)));
    refused(ours.gtFromBytes, bytes(Fp12.ONE), /target group/);
    refused(ours.gtFromBytes, new Uint8Array(576), /target group/);
    refused(ours.gtFromBytes, bytes(Fp12.neg(Fp12.ONE)), /target group/);
    refused(ours.gtFromBytes, bytes(Fp12.neg(e)), /target group/);
    // A Miller loop's value, and its image in the cyclotomic subgroup, where fast formulas hold but the
    // order is not r.
    const f = noble.pairing(noble.G1.Point.BASE, noble.G2.Point.BASE, false);
    refused(ours.gtFromBytes, bytes(f), /target group/);
    const easy = Fp12.div(Fp12.frobeniusMap(f, 6), f);
    refused(ours.gtFromBytes, bytes(Fp12.mul(Fp12.frobeniusMap(easy, 2), easy)), /target group/);
    const big = bytes(e);
    big[0] = (big[0] ?? 0) | 0x80;
    refused(ours.gtFromBytes, big, /canonical/);
    refused(ours.gtFromBytes, bytes(e).subarray(48), /canonical/);
  });
});
