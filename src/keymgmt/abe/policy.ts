import { concat, prefixed, Reader, uint } from './bytes.ts';
import { BK_LABEL, MAX_LABEL_LENGTH, MAX_POLICY_LEAVES, MAX_VALUE_LENGTH } from './constants.ts';
import { AbeFormatError } from './errors.ts';
import { andLeaf, type Gate, orderGates, satisfyingLeaves } from './formula.ts';
import { type Scalar, scalarEqual, scalarToBytes } from './groups.ts';
import { decodeScalar } from './matrix-codec.ts';
import { isWord, type PolicyNode, parsePolicyText } from './policy-syntax.ts';
import { hashValue } from './sampling.ts';

/** A leaf of a policy: the attribute `label` has (or, not positive, has another value than) `value`. */
export interface Leaf {
  readonly label: string;
  readonly value: string;
  /** What stands for `value` in the scheme. */
  readonly scalar: Scalar;
  readonly positive: boolean;
}

/** A policy in negation normal form: `not` only at the leaves. */
export interface Policy {
  readonly leaves: readonly Leaf[];
  readonly gates: readonly Gate[];
}

/** An attribute in a key. A wildcard satisfies a leaf of any value. */
export interface Attribute {
  readonly scalar: Scalar;
  readonly wildcard: boolean;
}

/**
 * Parses the text of a policy and pushes negations to the leaves (De Morgan).
 *
 * @throws AbePolicyError (ERR_ABE_POLICY) with the position of the first fault
 */
export function parsePolicy(text: string): Policy {
  const leaves: Leaf[] = [];
  const inner: { kind: 'and' | 'or'; left: number; right: number }[] = [];
  // Gates are numbered from -1 down until the number of leaves, where their wires begin, is known.
  const visit = (node: PolicyNode, positive: boolean): number => {
    if (node.kind === 'not') return visit(node.child, !positive);
    if (node.kind === 'leaf') {
      const { label, value } = node;
      return leaves.push({ label, value, scalar: hashValue(value), positive }) - 1;
    }
    const left = visit(node.left, positive);
    const right = visit(node.right, positive);
    const kind = (node.kind === 'and') === positive ? 'and' : 'or';
    return -inner.push({ kind, left, right });
  };
  visit(parsePolicyText(text), true);
  const wire = (id: number): number => (id < 0 ? inner.length - id : id);
  const gates = inner.map(({ kind, left, right }, i) => ({
    kind,
    in0: wire(left),
    in1: wire(right),
    out: wire(-i - 1),
  }));
  return { leaves, gates };
}

/** The policy as text that `parsePolicy` reads back to the same formula. */
export function formatPolicy({ leaves, gates }: Policy): string {
  const texts = leaves.map(
    ({ label, value, positive }) => `${positive ? '' : 'not '}${label}: ${value}`,
  );
  for (const { kind, in0, in1, out } of orderGates(gates)) {
    texts[out] = `(${texts[in0]} ${kind} ${texts[in1]})`;
  }
  return texts[2 * gates.length] ?? '';
}

/** The leaves to decrypt with, or undefined if the attributes do not satisfy the policy. */
export function satisfy(
  { leaves, gates }: Policy,
  attributes: ReadonlyMap<string, Attribute>,
): number[] | undefined {
  const available = leaves.map(({ label, scalar, positive }) => {
    const attribute = attributes.get(label);
    // An absent attribute satisfies neither `a: x` nor `not a: x`: no key part exists for it.
    if (attribute === undefined) return false;
    return attribute.wildcard || scalarEqual(attribute.scalar, scalar) === positive;
  });
  return satisfyingLeaves(gates, available);
}

/** `policy and (internal label: id)`: what is really encrypted under (Boneh-Katz). */
export function withBonehKatzLeaf({ leaves, gates }: Policy, id: Scalar): Policy {
  return {
    leaves: [...leaves, { label: BK_LABEL, value: '', scalar: id, positive: true }],
    gates: andLeaf(gates),
  };
}

/** For every leaf, how many leaves before it have its label. */
export function occurrences({ leaves }: Policy): number[] {
  const seen = new Map<string, number>();
  return leaves.map(({ label }) => {
    const n = seen.get(label) ?? 0;
    seen.set(label, n + 1);
    return n;
  });
}

const ascii = new TextEncoder();

/**
 *     policy  = lp(formula) leaves:u16 lp(leaf)...          lp: u16 length, then so many bytes
 *     formula = gates:u16 { kind:u8 (0 and, 1 or) in0:u16 in1:u16 out:u16 }...
 *     leaf    = lp(label) lp(value) lp(scalar) positive:u8
 */
export function encodePolicy({ leaves, gates }: Policy): Uint8Array {
  const formula = gates.map(({ kind, in0, in1, out }) =>
    concat(uint(kind === 'and' ? 0 : 1, 1), uint(in0, 2), uint(in1, 2), uint(out, 2)),
  );
  const inputs = leaves.map(({ label, value, scalar, positive }) =>
    prefixed(
      concat(
        prefixed(ascii.encode(label)),
        prefixed(ascii.encode(value)),
        prefixed(scalarToBytes(scalar)),
        uint(positive ? 1 : 0, 1),
      ),
    ),
  );
  return concat(
    prefixed(concat(uint(gates.length, 2), ...formula)),
    uint(leaves.length, 2),
    ...inputs,
  );
}

/** @throws AbeFormatError (ERR_ABE_FORMAT) unless the bytes are what `encodePolicy` writes */
export function decodePolicy(bytes: Uint8Array): Policy {
  const reader = new Reader(bytes, 'policy');
  const formula = new Reader(reader.prefixed(), 'formula');
  const gateCount = formula.count(0, MAX_POLICY_LEAVES - 1, 'gates');
  const gates: Gate[] = [];
  for (let i = 0; i < gateCount; i += 1) {
    const kind = decodeFlag(formula) ? 'or' : 'and';
    gates.push({ kind, in0: formula.uint(2), in1: formula.uint(2), out: formula.uint(2) });
  }
  formula.end();
  orderGates(gates);
  const leafCount = reader.count(gateCount + 1, gateCount + 1, 'attributes');
  const leaves: Leaf[] = [];
  for (let i = 0; i < leafCount; i += 1) leaves.push(decodeLeaf(reader.prefixed()));
  reader.end();
  return { leaves, gates };
}

function decodeLeaf(bytes: Uint8Array): Leaf {
  const reader = new Reader(bytes, 'policy attribute');
  const label = decodeWord(reader.prefixed(), MAX_LABEL_LENGTH);
  const value = decodeWord(reader.prefixed(), MAX_VALUE_LENGTH);
  const scalar = decodeScalar(reader.prefixed());
  const positive = decodeFlag(reader);
  reader.end();
  // The scheme uses the scalar, people see the value: they must be the same thing.
  if (!scalarEqual(scalar, hashValue(value))) {
    throw new AbeFormatError('policy attribute: the scalar is not the hash of the value');
  }
  return { label, value, scalar, positive };
}

/** @throws AbeFormatError (ERR_ABE_FORMAT) unless the byte is 0 or 1 */
export function decodeFlag(reader: Reader): boolean {
  const flag = reader.uint(1);
  if (flag > 1) throw new AbeFormatError('a flag is neither 0 nor 1');
  return flag === 1;
}

/** @throws AbeFormatError (ERR_ABE_FORMAT) unless a label or value of at most `most` characters */
export function decodeWord(bytes: Uint8Array, most: number): string {
  const word = Buffer.from(bytes).toString('latin1');
  if (!isWord(word) || word.length > most) {
    throw new AbeFormatError('a label or value is too long or has characters it must not have');
  }
  return word;
}
