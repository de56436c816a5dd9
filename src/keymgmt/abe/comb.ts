import { COMB_CACHE_MATRICES } from './constants.ts';
import {
  type G1,
  type G2,
  g1FromRaw,
  g1MultiMul,
  g2FromRaw,
  g2MultiMul,
  type Scalar,
  scalarToBytes,
} from './groups.ts';
import type { Matrix } from './matrix.ts';
import { ready } from './mcl.ts';

/**
 * Sums of products with points that come again and again: those of the public key, of the labels, and of
 * the wildcard in an attribute key.
 *
 * The comb method of Lim and Lee (CRYPTO 1994): a scalar of 259 bits is laid out in seven rows of 37,
 *
 *     bit   36 ...  1   0        one column is a digit from 0 to 127, the number of a precomputed
 *           73 ... 38  37        sum of P, 2^37 P, 2^74 P, ..., 2^222 P
 *                  ...
 *          258 ... 223 222
 *
 * so that a sum of any number of products takes 37 doublings and, for each product, 37 additions:
 * about half the time of mcl's own. Making the 127 multiples takes as long as two multiplications, so
 * they are made when a matrix is used for the second time.
 */
const TEETH = 7;
const COLUMNS = 37;
const MULTIPLES = 2 ** TEETH - 1;

interface Group {
  readonly size: number;
  readonly add: '_mclBnG1_add' | '_mclBnG2_add';
  readonly double: '_mclBnG1_dbl' | '_mclBnG2_dbl';
  readonly clear: '_mclBnG1_clear' | '_mclBnG2_clear';
  readonly normalize: '_mclBnG1_normalizeVec' | '_mclBnG2_normalizeVec';
}
const GROUPS: { readonly G1: Group; readonly G2: Group } = {
  G1: {
    size: 144,
    add: '_mclBnG1_add',
    double: '_mclBnG1_dbl',
    clear: '_mclBnG1_clear',
    normalize: '_mclBnG1_normalizeVec',
  },
  G2: {
    size: 288,
    add: '_mclBnG2_add',
    double: '_mclBnG2_dbl',
    clear: '_mclBnG2_clear',
    normalize: '_mclBnG2_normalizeVec',
  },
};

type Points = Matrix<G1> | Matrix<G2>;

const usedOnce = new WeakSet<Points>();
/** Address of the multiples of a matrix's entries, the least recently used matrix first. */
const tables = new Map<Points, number>();

/** Announces that the entries of these matrices are about to be multiplied. */
export function prepareCombs(...matrices: readonly Points[]): void {
  for (const matrix of matrices) {
    const address = tables.get(matrix) ?? (usedOnce.has(matrix) ? makeTable(matrix) : undefined);
    usedOnce.add(matrix);
    if (address === undefined) continue;
    tables.delete(matrix);
    tables.set(matrix, address);
  }
  for (const matrix of tables.keys()) {
    if (tables.size <= COMB_CACHE_MATRICES) break;
    forgetCombs(matrix);
  }
}

/** Overwrites and frees the multiples of a matrix's entries, which may be of a secret key. */
export function forgetCombs(matrix: Points): void {
  usedOnce.delete(matrix);
  const address = tables.get(matrix);
  const kind = matrix.entries[0]?.kind;
  if (address === undefined || kind === undefined) return;
  tables.delete(matrix);
  const { mcl } = ready();
  const bytes = matrix.entries.length * stride(GROUPS[kind]);
  new Uint8Array(mcl.wasmMemory.buffer, address, bytes).fill(0);
  mcl._free(address);
}

/** The number of bytes from one entry's multiples to the next; multiple 0 is not there. */
const stride = (group: Group): number => MULTIPLES * group.size;

function makeTable({ entries }: Points): number | undefined {
  const kind = entries[0]?.kind;
  if (kind === undefined) return undefined;
  const group = GROUPS[kind];
  const { mcl } = ready();
  const table = mcl._malloc(entries.length * stride(group));
  // Without memory the sums are merely slower.
  if (table === 0) return undefined;
  entries.forEach(({ raw }, i) => {
    const multiple = (n: number): number => table + i * stride(group) + (n - 1) * group.size;
    new Uint8Array(mcl.wasmMemory.buffer, multiple(1), group.size).set(raw);
    for (let n = 2; n <= MULTIPLES; n += 1) {
      const lowest = n & -n;
      if (n === lowest) {
        mcl[group.double](multiple(n), multiple(n / 2));
        for (let k = 1; k < COLUMNS; k += 1) mcl[group.double](multiple(n), multiple(n));
      } else {
        mcl[group.add](multiple(n), multiple(n - lowest), multiple(lowest));
      }
    }
    mcl[group.normalize](multiple(1), multiple(1), MULTIPLES);
  });
  return table;
}

/** The digit of each column. */
function digits(x: Scalar): Uint8Array {
  const bytes = scalarToBytes(x);
  const out = new Uint8Array(COLUMNS);
  for (let bit = 0; bit < 255; bit += 1) {
    const value = ((bytes[31 - (bit >> 3)] ?? 0) >> (bit & 7)) & 1;
    const column = bit % COLUMNS;
    out[column] = (out[column] ?? 0) | (value << Math.floor(bit / COLUMNS));
  }
  bytes.fill(0);
  return out;
}

/** One product: entry number `entry` of `of`, times `by`. */
export interface Product<Point> {
  readonly of: Matrix<Point>;
  readonly entry: number;
  readonly by: Scalar;
}

/** The sum by combs, or undefined if one of the matrices has none. */
function combSum(
  group: Group,
  products: readonly Product<G1>[] | readonly Product<G2>[],
): Uint8Array | undefined {
  const terms: { at: number; digits: Uint8Array }[] = [];
  for (const { of, entry, by } of products) {
    const table = tables.get(of);
    if (table === undefined) return undefined;
    // Digit 1 is the first multiple.
    terms.push({ at: table + entry * stride(group) - group.size, digits: digits(by) });
  }
  const { mcl, scratch } = ready();
  const add = mcl[group.add];
  mcl[group.clear](scratch);
  for (let column = COLUMNS - 1; column >= 0; column -= 1) {
    mcl[group.double](scratch, scratch);
    for (const term of terms) {
      const digit = term.digits[column] ?? 0;
      if (digit !== 0) add(scratch, scratch, term.at + digit * group.size);
    }
  }
  for (const term of terms) term.digits.fill(0);
  return new Uint8Array(mcl.wasmMemory.buffer, scratch, group.size).slice();
}

function points<Point>(products: readonly Product<Point>[]): Point[] {
  return products.flatMap(({ of, entry }) => of.entries.slice(entry, entry + 1));
}
const scalars = (products: readonly Product<unknown>[]): Scalar[] => products.map(({ by }) => by);

/** The sum of at most 16 products; the time depends on the scalars. */
export function sumG1(products: readonly Product<G1>[]): G1 {
  const raw = combSum(GROUPS.G1, products);
  return raw === undefined ? g1MultiMul(points(products), scalars(products)) : g1FromRaw(raw);
}

/** The sum of at most 16 products; the time depends on the scalars. */
export function sumG2(products: readonly Product<G2>[]): G2 {
  const raw = combSum(GROUPS.G2, products);
  return raw === undefined ? g2MultiMul(points(products), scalars(products)) : g2FromRaw(raw);
}
