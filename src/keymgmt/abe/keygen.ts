/** The authority's half of the scheme (see kem.ts): new authorities, and keys for attributes. */
import { type Product, prepareCombs, sumG1 } from './comb.ts';
import { PRF_KEY_BYTES } from './constants.ts';
import {
  type G1,
  g1Generator,
  g1MulSecret,
  g2Generator,
  g2MulSecret,
  pairingProduct,
  type Scalar,
  scalarAdd,
  scalarFromInt,
  scalarMul,
  wipe,
} from './groups.ts';
import type { AttributePart, DecryptionKey, MasterSecret, PublicParameters } from './kem.ts';
import {
  add,
  at,
  columns,
  inverse,
  type Matrix,
  map,
  matrix,
  multiply,
  transpose,
} from './matrix.ts';
import { labelMatrices } from './oracle.ts';
import type { Attribute } from './policy.ts';
import {
  prfEntry,
  type RandomBytes,
  randomMatrix,
  sampleScalar,
  wipeMatrices,
} from './sampling.ts';

/** Draws a new authority: A, then the 4x4 matrix B completes to, W, k and the PRF's key. */
export function setup(random: RandomBytes): { public: PublicParameters; secret: MasterSecret } {
  const [zero, one] = [scalarFromInt(0), scalarFromInt(1)];
  const [a1, a2] = [sampleScalar(random), sampleScalar(random)];
  const a: Matrix<Scalar> = { rows: 3, columns: 2, entries: [a1, zero, zero, a2, one, one] };
  const bBar = randomMatrix(random, 4, 4);
  const w = randomMatrix(random, 3, 4);
  const k = randomMatrix(random, 4, 1);
  const prfKey = random(PRF_KEY_BYTES);

  const b = columns(bBar, 0, 2);
  const wb = multiply(w, b);
  const btk = multiply(transpose(b), k);
  const dual = inverse(transpose(bBar));
  const [generator1, generator2] = [g1Generator(), g2Generator()];
  const result = {
    public: {
      b2: map(b, (x) => g2MulSecret(generator2, x)),
      wb1: map(wb, (x) => g1MulSecret(generator1, x)),
      btk: map(btk, (x) => pairingProduct([{ p: g1MulSecret(generator1, x), q: generator2 }])),
    },
    secret: {
      a,
      wtA: multiply(transpose(w), a),
      bStar: columns(dual, 0, 2),
      bStar12: columns(dual, 2, 2),
      k,
      prfKey,
    },
  };
  wipeMatrices(bBar, w, wb, btk);
  return result;
}

/**
 * The key for a set of attributes. All scalars of the master secret that meet a point are first
 * multiplied by this key's fresh randomness, since multiplication takes a time that depends on them.
 */
export function generateKey(
  secret: MasterSecret,
  attributes: ReadonlyMap<string, Attribute>,
  random: RandomBytes,
): DecryptionKey {
  const s = randomMatrix(random, 2, 1);
  const as = multiply(secret.a, s);
  const k2 = add(multiply(secret.wtA, s), secret.k);
  const [generator1, generator2, one] = [g1Generator(), g2Generator(), scalarFromInt(1)];
  const parts = new Map<string, AttributePart>();
  for (const label of [...attributes.keys()].sort()) {
    const attribute = attributes.get(label);
    if (attribute === undefined) continue;
    const { u0, u1 } = labelMatrices(label);
    const v0 = matrix(3, 2, (i, j) => prfEntry(secret.prfKey, label, 'm1', i, j));
    const v1 = matrix(3, 2, (i, j) => prfEntry(secret.prfKey, label, 'm2', i, j));
    prepareCombs(u0, u1);
    const part = (us: readonly Multiple[], v: Matrix<Scalar>) => attributePart(secret, as, us, v);
    if (attribute.wildcard) {
      const k3 = part([{ u: u0, times: one }], v0);
      const k3wild = part([{ u: u1, times: one }], v1);
      parts.set(label, { ...attribute, k3, k3wild });
    } else {
      const y = attribute.scalar;
      const v = matrix(3, 2, (i, j) => scalarAdd(scalarMul(at(v0, i, j), y), at(v1, i, j)));
      const k3 = part(
        [
          { u: u0, times: y },
          { u: u1, times: one },
        ],
        v,
      );
      parts.set(label, { ...attribute, k3, k3wild: undefined });
      wipeMatrices(v);
    }
    wipeMatrices(v0, v1);
  }
  const key = {
    parts,
    k1: map(as, (x) => g2MulSecret(generator2, x)),
    k2: map(k2, (x) => g1MulSecret(generator1, x)),
  };
  wipeMatrices(s, as, k2);
  return key;
}

interface Multiple {
  readonly u: Matrix<G1>;
  readonly times: Scalar;
}

let generatorMatrix: Matrix<G1> | undefined;

/** B* U^T A s + [B*12 V^T A s]_1, where U is the sum of `us`. */
function attributePart(
  secret: MasterSecret,
  as: Matrix<Scalar>,
  us: readonly Multiple[],
  v: Matrix<Scalar>,
): Matrix<G1> {
  generatorMatrix ??= { rows: 1, columns: 1, entries: [g1Generator()] };
  const generator = generatorMatrix;
  prepareCombs(generator);
  const fixed = multiply(secret.bStar12, multiply(transpose(v), as));
  const part = matrix(4, 1, (i) => {
    const products: Product<G1>[] = [{ of: generator, entry: 0, by: at(fixed, i, 0) }];
    for (let j = 0; j < 2; j += 1) {
      for (let l = 0; l < 3; l += 1) {
        const x = scalarMul(at(secret.bStar, i, j), at(as, l, 0));
        for (const { u, times } of us) {
          products.push({ of: u, entry: l * u.columns + j, by: scalarMul(x, times) });
        }
        wipe(x);
      }
    }
    const sum = sumG1(products);
    wipe(...products.map(({ by }) => by));
    return sum;
  });
  return part;
}
