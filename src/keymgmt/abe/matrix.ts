import { AbeArgumentError } from './errors.ts';
import {
  type Scalar,
  scalarAdd,
  scalarFromInt,
  scalarInv,
  scalarIsZero,
  scalarMul,
  scalarNeg,
} from './groups.ts';

/** A matrix with its entries row by row. */
export interface Matrix<Entry> {
  readonly rows: number;
  readonly columns: number;
  readonly entries: readonly Entry[];
}

/** The matrix whose entry at (row, column) is `entry(row, column)`, made row by row. */
export function matrix<Entry>(
  rows: number,
  columns: number,
  entry: (row: number, column: number) => Entry,
): Matrix<Entry> {
  const entries: Entry[] = [];
  for (let i = 0; i < rows; i += 1) {
    for (let j = 0; j < columns; j += 1) entries.push(entry(i, j));
  }
  return { rows, columns, entries };
}

/** @throws RangeError outside the matrix: a fault of this module, not of its input */
export function at<Entry>(m: Matrix<Entry>, row: number, column: number): Entry {
  const entry = column < m.columns ? m.entries[row * m.columns + column] : undefined;
  if (entry === undefined) throw new RangeError(`no entry (${row}, ${column})`);
  return entry;
}

/** The entries of one column. */
export function column<Entry>(m: Matrix<Entry>, j: number): Entry[] {
  return Array.from({ length: m.rows }, (_, i) => at(m, i, j));
}

export function map<From, To>(m: Matrix<From>, f: (entry: From) => To): Matrix<To> {
  return { rows: m.rows, columns: m.columns, entries: m.entries.map(f) };
}

export function transpose<Entry>(m: Matrix<Entry>): Matrix<Entry> {
  return matrix(m.columns, m.rows, (i, j) => at(m, j, i));
}

/** The columns `first` and following. */
export function columns<Entry>(m: Matrix<Entry>, first: number, count: number): Matrix<Entry> {
  return matrix(m.rows, count, (i, j) => at(m, i, first + j));
}

export function multiply(a: Matrix<Scalar>, b: Matrix<Scalar>): Matrix<Scalar> {
  return matrix(a.rows, b.columns, (i, j) => {
    let sum = scalarFromInt(0);
    for (let k = 0; k < a.columns; k += 1) {
      sum = scalarAdd(sum, scalarMul(at(a, i, k), at(b, k, j)));
    }
    return sum;
  });
}

export function add(a: Matrix<Scalar>, b: Matrix<Scalar>): Matrix<Scalar> {
  return matrix(a.rows, a.columns, (i, j) => scalarAdd(at(a, i, j), at(b, i, j)));
}

/**
 * Gauss and Jordan.
 *
 * @throws AbeArgumentError (ERR_ABE_ARGUMENT) if there is no inverse
 */
export function inverse(m: Matrix<Scalar>): Matrix<Scalar> {
  const n = m.rows;
  const rows = Array.from({ length: n }, (_, i) => [
    ...m.entries.slice(i * n, (i + 1) * n),
    ...Array.from({ length: n }, (_, j) => scalarFromInt(i === j ? 1 : 0)),
  ]);
  for (let i = 0; i < n; i += 1) {
    const pivot = rows.findIndex((row, k) => k >= i && !isZero(row[i]));
    const pivotRow = rows[pivot];
    const head = pivotRow?.[i];
    if (pivotRow === undefined || head === undefined) {
      throw new AbeArgumentError('a random matrix has no inverse: the randomness is broken');
    }
    const factor = scalarInv(head);
    const scaled = pivotRow.map((x) => scalarMul(x, factor));
    rows.splice(pivot, 1);
    rows.splice(i, 0, scaled);
    rows.forEach((row, k) => {
      const x = row[i];
      if (k === i || x === undefined) return;
      const minus = scalarNeg(x);
      rows[k] = row.map((y, j) => scalarAdd(y, scalarMul(minus, scaled[j] ?? y)));
    });
  }
  return { rows: n, columns: n, entries: rows.flatMap((row) => row.slice(n)) };
}

function isZero(x: Scalar | undefined): boolean {
  return x === undefined || scalarIsZero(x);
}
