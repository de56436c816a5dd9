import { G1_BYTES, G2_BYTES, GT_BYTES, SCALAR_BYTES } from './constants.ts';
import { AbeEngineError, AbeFormatError } from './errors.ts';
import * as mcl from './mcl.ts';

/**
 * BLS12-381: scalars modulo the group order r, the groups G1 and G2 of order r, the target group GT,
 * and their canonical bytes (uncompressed points in the form of the ZCash and IETF drafts; GT as CIRCL
 * writes it). Values are immutable but for `wipe`; `raw` is mcl's own memory layout.
 */

const FP_RAW = 48;
const FR_RAW = 32;
const G1_RAW = 3 * FP_RAW;
const G2_RAW = 6 * FP_RAW;
const GT_RAW = 12 * FP_RAW;

interface Element<Kind extends string> {
  readonly kind: Kind;
  readonly raw: Uint8Array;
}
/** An integer modulo r. */
export type Scalar = Element<'scalar'>;
/** A point of the order-r subgroup of E(Fp). */
export type G1 = Element<'G1'>;
/** A point of the order-r subgroup of the twist E'(Fp2). */
export type G2 = Element<'G2'>;
/** An element of the order-r subgroup of the multiplicative group of Fp12. */
export type Gt = Element<'GT'>;

const scalar = (raw: Uint8Array): Scalar => ({ kind: 'scalar', raw });
const g1 = (raw: Uint8Array): G1 => ({ kind: 'G1', raw });
const g2 = (raw: Uint8Array): G2 => ({ kind: 'G2', raw });

/** For results of mcl alone; bytes from outside go through `g1FromBytes` and `g2FromBytes`. */
export { g1 as g1FromRaw, g2 as g2FromRaw };

const gt = (raw: Uint8Array): Gt => ({ kind: 'GT', raw });

const raws = (elements: readonly Element<string>[]): Uint8Array[] => elements.map((e) => e.raw);

/** Overwrites secret values. */
export function wipe(...elements: readonly Element<string>[]): void {
  for (const element of elements) element.raw.fill(0);
}

// Scalars.

/** @returns the scalar, or undefined unless `bytes` are 32 bytes, big endian, below r */
export function scalarFromBytes(bytes: Uint8Array): Scalar | undefined {
  if (bytes.length !== SCALAR_BYTES) return undefined;
  const raw = mcl.fromBytes('_mclBnFr_deserialize', FR_RAW, bytes);
  return raw === undefined ? undefined : scalar(raw);
}

/** The big-endian integer `bytes` (at most 64 of them) modulo r. */
export function scalarReduce(bytes: Uint8Array): Scalar {
  const raw = mcl.fromBytes('_mclBnFr_setBigEndianMod', FR_RAW, bytes);
  if (raw === undefined) throw new AbeEngineError('mcl could not reduce an integer');
  return scalar(raw);
}

export const scalarToBytes = (x: Scalar): Uint8Array =>
  mcl.toBytes('_mclBnFr_serialize', SCALAR_BYTES, x.raw);
export const scalarFromInt = (n: number): Scalar => scalarReduce(Uint8Array.of(n >> 8, n & 0xff));
export const scalarAdd = (x: Scalar, y: Scalar): Scalar =>
  scalar(mcl.binary('_mclBnFr_add', x.raw, y.raw));
export const scalarSub = (x: Scalar, y: Scalar): Scalar =>
  scalar(mcl.binary('_mclBnFr_sub', x.raw, y.raw));
export const scalarMul = (x: Scalar, y: Scalar): Scalar =>
  scalar(mcl.binary('_mclBnFr_mul', x.raw, y.raw));
export const scalarNeg = (x: Scalar): Scalar => scalar(mcl.unary('_mclBnFr_neg', x.raw));
/** 1/x; 0 for 0. */
export const scalarInv = (x: Scalar): Scalar => scalar(mcl.unary('_mclBnFr_inv', x.raw));
export const scalarIsZero = (x: Scalar): boolean => mcl.query('_mclBnFr_isZero', x.raw) === 1;
export const scalarEqual = (x: Scalar, y: Scalar): boolean =>
  mcl.compare('_mclBnFr_isEqual', x.raw, y.raw);

// Points.

export const g1Add = (p: G1, q: G1): G1 => g1(mcl.binary('_mclBnG1_add', p.raw, q.raw));
export const g1Neg = (p: G1): G1 => g1(mcl.unary('_mclBnG1_neg', p.raw));
/** x * p; the time depends on x. */
export const g1Mul = (p: G1, x: Scalar): G1 => g1(mcl.binary('_mclBnG1_mul', p.raw, x.raw));
/** x * p in mcl's constant-time ladder. */
export const g1MulSecret = (p: G1, x: Scalar): G1 => g1(mcl.binary('_mclBnG1_mulCT', p.raw, x.raw));
/** Sum of scalars[i] * points[i], at most 16 of them; the time depends on the scalars. */
export const g1MultiMul = (points: readonly G1[], scalars: readonly Scalar[]): G1 =>
  g1(mcl.vector('_mclBnG1_mulVec', G1_RAW, raws(points), raws(scalars)));
export const g1Equal = (p: G1, q: G1): boolean => mcl.compare('_mclBnG1_isEqual', p.raw, q.raw);
/** RFC 9380 hash_to_curve, suite BLS12381G1_XMD:SHA-256_SSWU_RO_, under the tag `dst`. */
export const g1Hash = (message: Uint8Array, dst: Uint8Array): G1 =>
  g1(mcl.unary('_mclBnG1_normalize', mcl.hashToG1(G1_RAW, message, dst)));

export const g2Add = (p: G2, q: G2): G2 => g2(mcl.binary('_mclBnG2_add', p.raw, q.raw));
/** x * p in mcl's constant-time ladder. */
export const g2MulSecret = (p: G2, x: Scalar): G2 => g2(mcl.binary('_mclBnG2_mulCT', p.raw, x.raw));
/** Sum of scalars[i] * points[i], at most 16 of them; the time depends on the scalars. */
export const g2MultiMul = (points: readonly G2[], scalars: readonly Scalar[]): G2 =>
  g2(mcl.vector('_mclBnG2_mulVec', G2_RAW, raws(points), raws(scalars)));
export const g2Equal = (p: G2, q: G2): boolean => mcl.compare('_mclBnG2_isEqual', p.raw, q.raw);

function coordinates(raw: Uint8Array, order: readonly number[]): Uint8Array {
  const out = new Uint8Array(order.length * FP_RAW);
  order.forEach((from, to) => {
    const fp = raw.subarray(from * FP_RAW, (from + 1) * FP_RAW);
    out.set(mcl.toBytes('_mclBnFp_serialize', FP_RAW, fp), to * FP_RAW);
  });
  return out;
}

/** The inverse of `coordinates`; undefined if a coordinate is not below p. */
function fromCoordinates(
  bytes: Uint8Array,
  order: readonly number[],
  size: number,
): Uint8Array | undefined {
  const raw = new Uint8Array(size);
  for (const [from, to] of order.entries()) {
    const fp = bytes.subarray(from * FP_RAW, (from + 1) * FP_RAW);
    const value = mcl.fromBytes('_mclBnFp_deserialize', FP_RAW, fp);
    if (value === undefined) return undefined;
    raw.set(value, to * FP_RAW);
  }
  return raw;
}

const ONE = new Uint8Array(FP_RAW);
ONE[FP_RAW - 1] = 1;
/** z = 1, which makes affine coordinates a point in mcl's layout. */
function setZ(raw: Uint8Array, at: number): void {
  const one = mcl.fromBytes('_mclBnFp_deserialize', FP_RAW, ONE);
  if (one !== undefined) raw.set(one, at);
}

const G1_ORDER = [0, 1];
const G2_ORDER = [1, 0, 3, 2];
const GT_ORDER = [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0];

/** @throws AbeEngineError for the point at infinity, which no honest object holds */
export function g1ToBytes(p: G1): Uint8Array {
  if (mcl.query('_mclBnG1_isZero', p.raw) === 1) throw new AbeEngineError('point at infinity');
  return coordinates(mcl.unary('_mclBnG1_normalize', p.raw), G1_ORDER);
}

/**
 * Only x || y, each 48 bytes, big endian and below p, with (x, y) on the curve and of order r. The
 * flag bits of the compressed and infinity forms make x exceed p, so each point has one encoding.
 *
 * @throws AbeFormatError (ERR_ABE_FORMAT) for anything else
 */
export function g1FromBytes(bytes: Uint8Array): G1 {
  const raw = bytes.length === G1_BYTES ? fromCoordinates(bytes, G1_ORDER, G1_RAW) : undefined;
  if (raw === undefined) throw new AbeFormatError('not a canonical uncompressed G1 point');
  setZ(raw, 2 * FP_RAW);
  if (mcl.query('_mclBnG1_isValid', raw) !== 1)
    throw new AbeFormatError('not a point of the curve');
  if (mcl.query('_mclBnG1_isValidOrder', raw) !== 1) {
    throw new AbeFormatError('a G1 point of the wrong subgroup');
  }
  return g1(raw);
}

/** @throws AbeEngineError for the point at infinity, which no honest object holds */
export function g2ToBytes(p: G2): Uint8Array {
  if (mcl.query('_mclBnG2_isZero', p.raw) === 1) throw new AbeEngineError('point at infinity');
  return coordinates(mcl.unary('_mclBnG2_normalize', p.raw), G2_ORDER);
}

/**
 * Only x.c1 || x.c0 || y.c1 || y.c0; otherwise as `g1FromBytes`.
 *
 * @throws AbeFormatError (ERR_ABE_FORMAT)
 */
export function g2FromBytes(bytes: Uint8Array): G2 {
  const raw = bytes.length === G2_BYTES ? fromCoordinates(bytes, G2_ORDER, G2_RAW) : undefined;
  if (raw === undefined) throw new AbeFormatError('not a canonical uncompressed G2 point');
  setZ(raw, 4 * FP_RAW);
  if (mcl.query('_mclBnG2_isValid', raw) !== 1)
    throw new AbeFormatError('not a point of the twist');
  if (mcl.query('_mclBnG2_isValidOrder', raw) !== 1) {
    throw new AbeFormatError('a G2 point of the wrong subgroup');
  }
  return g2(raw);
}

const fromHex = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const G1_GENERATOR = fromHex(
  '17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb' +
    '08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1',
);
const G2_GENERATOR = fromHex(
  '13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e' +
    '024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8' +
    '0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be' +
    '0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801',
);

/** The generators of draft-irtf-cfrg-pairing-friendly-curves, section 4.2.1. */
export const g1Generator = (): G1 => g1FromBytes(G1_GENERATOR);
export const g2Generator = (): G2 => g2FromBytes(G2_GENERATOR);

// The target group.

/** More pairs than fit the scratch block at once go through in groups of this size. */
const PAIRS_AT_ONCE = 16;

/** The product of e(p, q) over all pairs: one final exponentiation for all of them. */
export function pairingProduct(pairs: readonly { p: G1; q: G2 }[]): Gt {
  let product: Uint8Array | undefined;
  for (let i = 0; i < pairs.length; i += PAIRS_AT_ONCE) {
    const some = pairs.slice(i, i + PAIRS_AT_ONCE);
    const ps = some.map((pair) => pair.p.raw);
    const qs = some.map((pair) => pair.q.raw);
    const loops = mcl.vector('_mclBn_millerLoopVec', GT_RAW, ps, qs);
    product = product === undefined ? loops : mcl.binary('_mclBnGT_mul', product, loops);
  }
  if (product === undefined) throw new AbeEngineError('a pairing product needs a pair');
  return gt(mcl.unary('_mclBn_finalExp', product));
}

/** The product of elements[i] ^ scalars[i]. */
export const gtMultiPow = (elements: readonly Gt[], scalars: readonly Scalar[]): Gt =>
  gt(mcl.vector('_mclBnGT_powVec', GT_RAW, raws(elements), raws(scalars)));
export const gtEqual = (x: Gt, y: Gt): boolean => mcl.compare('_mclBnGT_isEqual', x.raw, y.raw);

/** Twelve coordinates of the tower Fp2, Fp6 (v^3 = 1 + u), Fp12 (w^2 = v), the last one first. */
export const gtToBytes = (x: Gt): Uint8Array => coordinates(x.raw, GT_ORDER);

/**
 * Refuses the neutral element, under which every ciphertext would have the same key.
 *
 * @throws AbeFormatError (ERR_ABE_FORMAT)
 */
export function gtFromBytes(bytes: Uint8Array): Gt {
  const raw = bytes.length === GT_BYTES ? fromCoordinates(bytes, GT_ORDER, GT_RAW) : undefined;
  if (raw === undefined) throw new AbeFormatError('not a canonical element of the target field');
  if (mcl.query('_mclBnGT_isValid', raw) !== 1 || mcl.query('_mclBnGT_isOne', raw) === 1) {
    throw new AbeFormatError('not an element of the target group');
  }
  return gt(raw);
}
