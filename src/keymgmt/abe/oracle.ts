import { ORACLE_CACHE_LABELS } from './constants.ts';
import { type G1, g1Hash } from './groups.ts';
import { type Matrix, matrix } from './matrix.ts';

/** The two public 3x2 matrices of a label. */
export interface LabelMatrices {
  readonly u0: Matrix<G1>;
  readonly u1: Matrix<G1>;
}

const ascii = new TextEncoder();
const cache = new Map<string, LabelMatrices>();

function hashMatrix(label: string, name: 'a' | 'b'): Matrix<G1> {
  const message = ascii.encode(label);
  return matrix(3, 2, (i, j) => g1Hash(message, ascii.encode(`${name} matrix entry [${i}, ${j}]`)));
}

/**
 * The random oracle of the scheme: hash_to_curve of the label, with a domain separation tag for each
 * entry. Hashing takes longer than encrypting does, and labels are few, so the latest ones are kept.
 */
export function labelMatrices(label: string): LabelMatrices {
  const known = cache.get(label);
  const matrices = known ?? { u0: hashMatrix(label, 'a'), u1: hashMatrix(label, 'b') };
  // A Map iterates in the order of insertion: the first label is the one unused for longest.
  cache.delete(label);
  cache.set(label, matrices);
  if (cache.size > ORACLE_CACHE_LABELS) {
    for (const oldest of cache.keys()) {
      cache.delete(oldest);
      break;
    }
  }
  return matrices;
}
