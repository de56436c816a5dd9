import { concat, prefixed, Reader, uint } from './bytes.ts';
import { BK_LABEL, MAX_ATTRIBUTES, MAX_LABEL_LENGTH, PRF_KEY_BYTES } from './constants.ts';
import { AbeFormatError } from './errors.ts';
import {
  type G1,
  type Scalar,
  scalarEqual,
  scalarFromInt,
  scalarIsZero,
  scalarToBytes,
} from './groups.ts';
import type {
  AttributePart,
  DecryptionKey,
  Header,
  MasterSecret,
  PublicParameters,
} from './kem.ts';
import { at, type Matrix } from './matrix.ts';
import {
  decodeMatrix,
  decodeScalar,
  encodeMatrix,
  G1_POINT,
  G2_POINT,
  GT_ELEMENT,
  SCALAR,
} from './matrix-codec.ts';
import { decodeFlag, decodeWord, occurrences, type Policy } from './policy.ts';

/**
 * The bytes of keys and headers, as CIRCL has them. lp(x) is the length of x as u16 and then x; all
 * integers are little endian; a scalar or matrix is as in matrix-codec.ts. Decoding accepts exactly
 * what encoding writes.
 */

const ascii = new TextEncoder();
const BK_BYTES = ascii.encode(BK_LABEL);

/** lp([B]_2) lp([WB]_1) lp([B^T k]_T) */
export function encodePublicParameters({ b2, wb1, btk }: PublicParameters): Uint8Array {
  return concat(
    prefixed(encodeMatrix(G2_POINT, b2)),
    prefixed(encodeMatrix(G1_POINT, wb1)),
    prefixed(encodeMatrix(GT_ELEMENT, btk)),
  );
}

/** @throws AbeFormatError (ERR_ABE_FORMAT) */
export function decodePublicParameters(bytes: Uint8Array): PublicParameters {
  const reader = new Reader(bytes, 'public key');
  const b2 = reader.prefixed();
  const wb1 = reader.prefixed();
  const btk = reader.prefixed();
  reader.end();
  return {
    b2: decodeMatrix(G2_POINT, 4, 2, b2),
    wb1: decodeMatrix(G1_POINT, 3, 2, wb1),
    btk: decodeMatrix(GT_ELEMENT, 2, 1, btk),
  };
}

/** lp(A) lp(W^T A) lp(B*) lp(B*12) lp(k) lp(PRF key) */
export function encodeMasterSecret(secret: MasterSecret): Uint8Array {
  const { a, wtA, bStar, bStar12, k, prfKey } = secret;
  const matrices = [a, wtA, bStar, bStar12, k].map((m) => prefixed(encodeMatrix(SCALAR, m)));
  return concat(...matrices, prefixed(prfKey));
}

/** @throws AbeFormatError (ERR_ABE_FORMAT) */
export function decodeMasterSecret(bytes: Uint8Array): MasterSecret {
  const reader = new Reader(bytes, 'master key');
  const scalars = (rows: number, columns: number): Matrix<Scalar> =>
    decodeMatrix(SCALAR, rows, columns, reader.prefixed());
  const secret = {
    a: scalars(3, 2),
    wtA: scalars(4, 2),
    bStar: scalars(4, 2),
    bStar12: scalars(4, 2),
    k: scalars(4, 1),
    // Not slice(): of a Buffer that is a view, which goes with the caller's bytes.
    prfKey: Uint8Array.from(reader.prefixed()),
  };
  reader.end();
  if (secret.prfKey.length !== PRF_KEY_BYTES)
    throw new AbeFormatError('master key: PRF key length');
  const one = scalarFromInt(1);
  const isOne = (i: number, j: number): boolean => scalarEqual(at(secret.a, i, j), one);
  const isZero = (i: number, j: number): boolean => scalarIsZero(at(secret.a, i, j));
  if (!(isZero(0, 1) && isZero(1, 0) && isOne(2, 0) && isOne(2, 1))) {
    throw new AbeFormatError('master key: A has not the form of the assumption');
  }
  return secret;
}

/**
 *     key  = lp(n:u16 { lp(label) wildcard:u8 scalar }...) lp(k1) lp(k2)
 *            n:u16 { lp(label) lp(k3) }...  wildcards:u16 { lp(label) lp(k3wild) }...
 *
 * with labels in ascending order. The internal label is there, as the only wildcard, with scalar 0.
 */
export function encodeDecryptionKey({ parts, k1, k2 }: DecryptionKey): Uint8Array {
  const sorted = [...parts].sort(([a], [b]) => (a < b ? -1 : 1));
  const named = (label: string, rest: Uint8Array): Uint8Array =>
    concat(prefixed(ascii.encode(label)), rest);
  const attributes = sorted.map(([label, { wildcard, scalar }]) =>
    named(label, concat(uint(wildcard ? 1 : 0, 1), scalarToBytes(scalar))),
  );
  const k3 = sorted.map(([label, part]) => named(label, prefixed(encodeMatrix(G1_POINT, part.k3))));
  const wild = sorted.flatMap(([label, { k3wild }]) =>
    k3wild === undefined ? [] : [named(label, prefixed(encodeMatrix(G1_POINT, k3wild)))],
  );
  return concat(
    prefixed(concat(uint(attributes.length, 2), ...attributes)),
    prefixed(encodeMatrix(G2_POINT, k1)),
    prefixed(encodeMatrix(G1_POINT, k2)),
    uint(k3.length, 2),
    ...k3,
    uint(wild.length, 2),
    ...wild,
  );
}

/**
 * Splits everything before it looks at any point, since checking points is what takes time.
 *
 * @throws AbeFormatError (ERR_ABE_FORMAT)
 */
export function decodeDecryptionKey(bytes: Uint8Array): DecryptionKey {
  const reader = new Reader(bytes, 'attribute key');
  const attributes = decodeAttributes(reader.prefixed());
  const k1 = reader.prefixed();
  const k2 = reader.prefixed();
  const k3 = splitParts(reader, [...attributes.keys()]);
  const k3wild = splitParts(reader, [BK_LABEL]);
  reader.end();
  const part = (bytes: Uint8Array): Matrix<G1> => decodeMatrix(G1_POINT, 4, 1, bytes);
  const parts = new Map<string, AttributePart>();
  for (const [label, bytes] of k3) {
    const wild = k3wild.get(label);
    parts.set(label, {
      scalar: attributes.get(label) ?? scalarFromInt(0),
      wildcard: wild !== undefined,
      k3: part(bytes),
      k3wild: wild && part(wild),
    });
  }
  return { parts, k1: decodeMatrix(G2_POINT, 3, 1, k1), k2: part(k2) };
}

function decodeAttributes(bytes: Uint8Array): Map<string, Scalar> {
  const reader = new Reader(bytes, 'attributes');
  const n = reader.count(1, MAX_ATTRIBUTES + 1, 'attributes');
  const attributes = new Map<string, Scalar>();
  let last = '';
  for (let i = 0; i < n; i += 1) {
    const label = decodeLabel(reader);
    const wildcard = decodeFlag(reader);
    const scalar = decodeScalar(reader.take(SCALAR.bytes));
    const internal = label === BK_LABEL;
    if (label <= last || wildcard !== internal || (internal && !scalarIsZero(scalar))) {
      throw new AbeFormatError('attributes: out of order, or a wildcard where none may be');
    }
    attributes.set(label, scalar);
    last = label;
  }
  reader.end();
  if (!attributes.has(BK_LABEL))
    throw new AbeFormatError('attributes: the internal one is missing');
  return attributes;
}

function decodeLabel(reader: Reader): string {
  const bytes = reader.prefixed();
  // The internal label has a "-", so that no policy can name it.
  return Buffer.from(bytes).equals(BK_BYTES) ? BK_LABEL : decodeWord(bytes, MAX_LABEL_LENGTH);
}

/** The bytes of one matrix for each of these labels, which must be all there, in this order. */
function splitParts(reader: Reader, labels: readonly string[]): Map<string, Uint8Array> {
  reader.count(labels.length, labels.length, 'parts');
  const parts = new Map<string, Uint8Array>();
  for (const label of labels) {
    if (decodeLabel(reader) !== label) throw new AbeFormatError('attribute key: a part is missing');
    parts.set(label, reader.prefixed());
  }
  return parts;
}

/** lp(c1) n:u16 lp(c2)... leaves:u16 lp(c3)... lp(c3neg, or nothing for a positive leaf)... */
export function encodeHeader({ c1, c2, c3, c3neg }: Header): Uint8Array {
  return concat(
    prefixed(encodeMatrix(G2_POINT, c1)),
    uint(c2.length, 2),
    ...c2.map((m) => prefixed(encodeMatrix(G2_POINT, m))),
    uint(c3.length, 2),
    ...c3.map((m) => prefixed(encodeMatrix(G1_POINT, m))),
    ...c3neg.map((m) => prefixed(m === undefined ? new Uint8Array(0) : encodeMatrix(G1_POINT, m))),
  );
}

/**
 * Reads the header for `policy`, which is the one with the internal leaf.
 *
 * @throws AbeFormatError (ERR_ABE_FORMAT), also if the counts are not the policy's
 */
export function decodeHeader(reader: Reader, policy: Policy): Header {
  const n = policy.leaves.length;
  const repeats = Math.max(...occurrences(policy)) + 1;
  const c1Bytes = reader.prefixed();
  reader.count(repeats, repeats, 'c2');
  const c2Bytes = Array.from({ length: repeats }, () => reader.prefixed());
  reader.count(n, n, 'c3');
  const c3Bytes = Array.from({ length: n }, () => reader.prefixed());
  const c3negBytes = Array.from({ length: n }, () => reader.prefixed());
  reader.end();
  const point = (bytes: Uint8Array) => decodeMatrix(G1_POINT, 3, 1, bytes);
  const c3neg = c3negBytes.map((bytes, i) => {
    if (policy.leaves[i]?.positive === bytes.length > 0) {
      throw new AbeFormatError(
        'ciphertext: c3neg is there for negated attributes, and only for them',
      );
    }
    return bytes.length === 0 ? undefined : point(bytes);
  });
  return {
    c1: decodeMatrix(G2_POINT, 4, 1, c1Bytes),
    c2: c2Bytes.map((bytes) => decodeMatrix(G2_POINT, 4, 1, bytes)),
    c3: c3Bytes.map(point),
    c3neg,
  };
}
