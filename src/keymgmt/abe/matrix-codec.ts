import { concat, Reader, uint } from './bytes.ts';
import { G1_BYTES, G2_BYTES, GT_BYTES, SCALAR_BYTES } from './constants.ts';
import { AbeFormatError } from './errors.ts';
import {
  type G1,
  type G2,
  type Gt,
  g1FromBytes,
  g1ToBytes,
  g2FromBytes,
  g2ToBytes,
  gtFromBytes,
  gtToBytes,
  type Scalar,
  scalarFromBytes,
  scalarToBytes,
} from './groups.ts';
import { type Matrix, matrix } from './matrix.ts';

/** How entries of one kind are written. A matrix is: rows u16, columns u16, entries row by row. */
export interface EntryCodec<Entry> {
  readonly bytes: number;
  encode(entry: Entry): Uint8Array;
  decode(bytes: Uint8Array): Entry;
}

export const SCALAR: EntryCodec<Scalar> = {
  bytes: SCALAR_BYTES,
  encode: scalarToBytes,
  decode: decodeScalar,
};
export const G1_POINT: EntryCodec<G1> = { bytes: G1_BYTES, encode: g1ToBytes, decode: g1FromBytes };
export const G2_POINT: EntryCodec<G2> = { bytes: G2_BYTES, encode: g2ToBytes, decode: g2FromBytes };
export const GT_ELEMENT: EntryCodec<Gt> = {
  bytes: GT_BYTES,
  encode: gtToBytes,
  decode: gtFromBytes,
};

/** @throws AbeFormatError (ERR_ABE_FORMAT) unless 32 bytes, big endian, below the group order */
export function decodeScalar(bytes: Uint8Array): Scalar {
  const scalar = scalarFromBytes(bytes);
  if (scalar === undefined) throw new AbeFormatError('not a canonical scalar');
  return scalar;
}

export function encodeMatrix<Entry>(codec: EntryCodec<Entry>, m: Matrix<Entry>): Uint8Array {
  return concat(uint(m.rows, 2), uint(m.columns, 2), ...m.entries.map((x) => codec.encode(x)));
}

/**
 * Only a matrix of exactly these dimensions. They are compared before any entry is looked at.
 *
 * @throws AbeFormatError (ERR_ABE_FORMAT)
 */
export function decodeMatrix<Entry>(
  codec: EntryCodec<Entry>,
  rows: number,
  columns: number,
  bytes: Uint8Array,
): Matrix<Entry> {
  const reader = new Reader(bytes, 'matrix');
  if (reader.uint(2) !== rows || reader.uint(2) !== columns) {
    throw new AbeFormatError(`not a matrix of ${rows} x ${columns}`);
  }
  const entries = reader.take(rows * columns * codec.bytes);
  reader.end();
  return matrix(rows, columns, (i, j) => {
    const start = (i * columns + j) * codec.bytes;
    return codec.decode(entries.subarray(start, start + codec.bytes));
  });
}
