import { blake2xb } from './blake2xb.ts';
import { ATTRIBUTE_HASH_KEY, SCALAR_BYTES } from './constants.ts';
import {
  type Scalar,
  scalarFromBytes,
  scalarInv,
  scalarMul,
  scalarReduce,
  wipe,
} from './groups.ts';
import { type Matrix, matrix } from './matrix.ts';

/** Returns that many unpredictable bytes. */
export type RandomBytes = (length: number) => Uint8Array;

const ascii = new TextEncoder();

let montgomery: Scalar | undefined;
/** 2^-256 modulo r. */
function montgomeryInverse(): Scalar {
  montgomery ??= scalarInv(scalarReduce(Uint8Array.of(1, ...new Uint8Array(SCALAR_BYTES))));
  return montgomery;
}

/**
 * A scalar as CIRCL draws it: 32 bytes, big endian, without the top bit, again until below r. CIRCL
 * takes that integer v for the Montgomery form of the result, which therefore is v * 2^-256 modulo r.
 */
export function sampleScalar(random: RandomBytes): Scalar {
  for (;;) {
    const bytes = random(SCALAR_BYTES);
    bytes[0] = (bytes[0] ?? 0) & 0x7f;
    const v = scalarFromBytes(bytes);
    bytes.fill(0);
    if (v !== undefined) return scalarMul(v, montgomeryInverse());
  }
}

/** The scalar that stands for an attribute's value. */
export function hashValue(value: string): Scalar {
  const xof = blake2xb(ascii.encode(ATTRIBUTE_HASH_KEY), ascii.encode(value));
  return sampleScalar((length) => xof.read(length));
}

/** The authority's pseudorandom function: entry (row, column) of the 3x2 matrix `name` of a label. */
export function prfEntry(
  prfKey: Uint8Array,
  label: string,
  name: 'm1' | 'm2',
  row: number,
  column: number,
): Scalar {
  const xof = blake2xb(prfKey, ascii.encode(`${label}${name} matrix entry (${row}, ${column})`));
  return sampleScalar((length) => xof.read(length));
}

/** A matrix of sampled scalars, drawn row by row. */
export function randomMatrix(random: RandomBytes, rows: number, cols: number): Matrix<Scalar> {
  return matrix(rows, cols, () => sampleScalar(random));
}

/** Overwrites secret matrices. */
export function wipeMatrices(...secrets: readonly Matrix<Scalar>[]): void {
  for (const secret of secrets) wipe(...secret.entries);
}
