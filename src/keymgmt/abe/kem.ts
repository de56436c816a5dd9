import { type Product, prepareCombs, sumG1, sumG2 } from './comb.ts';
import { AbeFormatError, AbeUnsatisfiedError } from './errors.ts';
import { type ShareSecret, shareSecret } from './formula.ts';
import {
  type G1,
  type G2,
  type Gt,
  g1Add,
  g1Mul,
  g1MultiMul,
  g1Neg,
  gtMultiPow,
  pairingProduct,
  type Scalar,
  scalarAdd,
  scalarFromInt,
  scalarInv,
  scalarMul,
  scalarNeg,
  scalarSub,
  wipe,
} from './groups.ts';
import { at, column, type Matrix, map, matrix } from './matrix.ts';
import { labelMatrices } from './oracle.ts';
import { type Attribute, occurrences, type Policy, satisfy } from './policy.ts';
import { type RandomBytes, randomMatrix, wipeMatrices } from './sampling.ts';

/**
 * The key encapsulation of Tomida, Kawahara and Nishimaki, "Fast, Compact, and Expressive
 * Attribute-Based Encryption" (ia.cr/2019/966): ciphertext-policy ABE with AND, OR, NOT and
 * attributes used more than once, adaptively secure under standard assumptions in the random oracle
 * model. Here with k = 2 (DLIN). [x]_i is x in the exponent of group i; y is an attribute's value.
 */

/** [B]_2, [W B]_1, [B^T k]_T */
export interface PublicParameters {
  readonly b2: Matrix<G2>;
  readonly wb1: Matrix<G1>;
  readonly btk: Matrix<Gt>;
}

export interface MasterSecret {
  readonly a: Matrix<Scalar>;
  readonly wtA: Matrix<Scalar>;
  readonly bStar: Matrix<Scalar>;
  readonly bStar12: Matrix<Scalar>;
  readonly k: Matrix<Scalar>;
  readonly prfKey: Uint8Array;
}

/** What a key holds for one attribute. */
export interface AttributePart extends Attribute {
  /** For a fixed value: all of it. For a wildcard: the part to multiply by a leaf's value. */
  readonly k3: Matrix<G1>;
  /** For a wildcard: the part that does not depend on the value. */
  readonly k3wild: Matrix<G1> | undefined;
}

export interface DecryptionKey {
  readonly parts: ReadonlyMap<string, AttributePart>;
  readonly k1: Matrix<G2>;
  readonly k2: Matrix<G1>;
}

export interface Header {
  readonly c1: Matrix<G2>;
  /** One for each time that the most frequent label occurs. */
  readonly c2: readonly Matrix<G2>[];
  /** One for each leaf. */
  readonly c3: readonly Matrix<G1>[];
  /** One for each negated leaf. */
  readonly c3neg: readonly (Matrix<G1> | undefined)[];
}

/**
 * A fresh shared key and the header that carries it under `policy`.
 *
 * @param share how the secret is shared; tests pass a broken one to see that it is found out
 */
export function encapsulate(
  parameters: PublicParameters,
  policy: Policy,
  random: RandomBytes,
  share: ShareSecret = shareSecret,
): { header: Header; key: Gt } {
  const occurrence = occurrences(policy);
  const r = randomMatrix(random, 2, 1);
  const rs = Array.from({ length: Math.max(...occurrence) + 1 }, () => randomMatrix(random, 2, 1));
  const shares = share(policy.gates, r.entries, random);

  const { b2, wb1 } = parameters;
  prepareCombs(b2, wb1);
  const timesB = (x: Matrix<Scalar>): Matrix<G2> =>
    matrix(4, 1, (i) => sumG2(rowProducts(b2, i, x.entries)));
  const c3: Matrix<G1>[] = [];
  const c3neg: (Matrix<G1> | undefined)[] = [];
  policy.leaves.forEach(({ label, scalar: y, positive }, leaf) => {
    const rj = rs[occurrence[leaf] ?? 0]?.entries ?? [];
    const wireShare = shares[leaf] ?? [];
    const { u0, u1 } = labelMatrices(label);
    const yrj = rj.map((x) => scalarMul(x, y));
    const minus = wireShare.map(scalarNeg);
    const yShare = wireShare.map((x) => scalarMul(x, y));
    prepareCombs(u0, u1);
    if (positive) {
      // (y U0 + U1) r_j + [W B]_1 share
      c3.push(combine([u0, yrj], [u1, rj], [wb1, wireShare]));
      c3neg.push(undefined);
    } else {
      // U0 r_j - [W B]_1 share and U1 r_j + y [W B]_1 share
      c3.push(combine([u0, rj], [wb1, minus]));
      c3neg.push(combine([u1, rj], [wb1, yShare]));
    }
    wipe(...yrj, ...minus, ...yShare);
  });
  const header = { c1: timesB(r), c2: rs.map(timesB), c3, c3neg };
  const key = gtMultiPow(parameters.btk.entries, r.entries);
  for (const x of shares) wipe(...x);
  wipeMatrices(r, ...rs);
  return { header, key };
}

/** Row i of a matrix times a vector. */
function rowProducts<Point>(of: Matrix<Point>, i: number, x: readonly Scalar[]): Product<Point>[] {
  return x.map((by, j) => ({ of, entry: i * of.columns + j, by }));
}

/** The sum of matrix times vector over all terms. */
function combine(...terms: readonly (readonly [Matrix<G1>, readonly Scalar[]])[]): Matrix<G1> {
  return matrix(3, 1, (i) => sumG1(terms.flatMap(([m, x]) => rowProducts(m, i, x))));
}

/**
 * The shared key.
 *
 * @param leaves which leaves of the policy to use; a satisfying set, unless a test attacks
 * @throws AbeUnsatisfiedError (ERR_ABE_UNSATISFIED) if the key's attributes do not satisfy the policy
 */
export function decapsulate(
  policy: Policy,
  header: Header,
  key: DecryptionKey,
  leaves: readonly number[] | undefined = satisfy(policy, key.parts),
): Gt {
  if (leaves === undefined) throw new AbeUnsatisfiedError();
  const occurrence = occurrences(policy);
  /** For each r_j: the sums of what is paired with k1 and with c2_j. */
  const sums = new Map<number, { withK1: Matrix<G1>; withC2: Matrix<G1> }>();
  for (const leaf of leaves) {
    const j = occurrence[leaf] ?? 0;
    const halves = leafHalves(policy, header, key, leaf);
    const sum = sums.get(j);
    sums.set(j, {
      withK1: addPoints(sum?.withK1, halves.withK1),
      withC2: addPoints(sum?.withC2, halves.withC2),
    });
  }
  const pairs = inner(key.k2, header.c1);
  let total: Matrix<G1> | undefined;
  for (const [j, { withK1, withC2 }] of sums) {
    const c2 = header.c2[j];
    if (c2 === undefined) throw new AbeFormatError('ciphertext: a c2 is missing');
    pairs.push(...inner(withC2, c2));
    total = addPoints(total, withK1);
  }
  if (total !== undefined) pairs.push(...inner(map(total, g1Neg), key.k1));
  return pairingProduct(pairs);
}

function leafHalves(
  policy: Policy,
  { c3, c3neg }: Header,
  key: DecryptionKey,
  leaf: number,
): { withK1: Matrix<G1>; withC2: Matrix<G1> } {
  const wire = policy.leaves[leaf];
  const part = wire && key.parts.get(wire.label);
  const cipher = c3[leaf];
  if (wire === undefined || part === undefined || cipher === undefined) {
    throw new AbeFormatError('ciphertext: a leaf has no part in the header or in the key');
  }
  if (wire.positive) {
    return { withK1: cipher, withC2: keyPart(part, wire.scalar) };
  }
  const cipherNeg = c3neg[leaf];
  if (cipherNeg === undefined) throw new AbeFormatError('ciphertext: a negated leaf has no c3neg');
  // For a wildcard any value but the leaf's will do.
  const y = part.wildcard ? scalarAdd(wire.scalar, scalarFromInt(1)) : part.scalar;
  const factor = scalarInv(scalarSub(wire.scalar, y));
  const yFactor = scalarMul(y, factor);
  return {
    withK1: matrix(3, 1, (i) =>
      g1MultiMul([at(cipher, i, 0), at(cipherNeg, i, 0)], [yFactor, factor]),
    ),
    withC2: map(keyPart(part, y), (p) => g1Mul(p, factor)),
  };
}

/** The key's part for the value `y`. */
function keyPart(part: AttributePart, y: Scalar): Matrix<G1> {
  const { k3, k3wild } = part;
  if (k3wild === undefined) return k3;
  prepareCombs(k3);
  return matrix(4, 1, (i) => g1Add(sumG1([{ of: k3, entry: i, by: y }]), at(k3wild, i, 0)));
}

function addPoints(a: Matrix<G1> | undefined, b: Matrix<G1>): Matrix<G1> {
  return a === undefined ? b : matrix(b.rows, 1, (i) => g1Add(at(a, i, 0), at(b, i, 0)));
}

function inner(ps: Matrix<G1>, qs: Matrix<G2>): { p: G1; q: G2 }[] {
  return column(ps, 0).map((p, i) => ({ p, q: at(qs, i, 0) }));
}
