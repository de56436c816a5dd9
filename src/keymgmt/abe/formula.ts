import { AbeFormatError } from './errors.ts';
import { type Scalar, scalarSub } from './groups.ts';
import { type RandomBytes, sampleScalar } from './sampling.ts';

/**
 * Monotone boolean formulas as trees of two-input gates over numbered wires, and the sharing of a
 * secret along them.
 *
 * With n gates there are n + 1 leaves: wires 0 to n. Wires n + 1 to 2n are the gates' outputs and
 * wire 2n is the formula's. Every wire but that one is the input of exactly one gate.
 *
 *     (0 and 1) or 2        wires 0, 1, 2: leaves
 *                           gate and: 0, 1 -> 3
 *                           gate or:  3, 2 -> 4
 */
export interface Gate {
  readonly kind: 'and' | 'or';
  readonly in0: number;
  readonly in1: number;
  readonly out: number;
}

/**
 * The gates with every gate after those that feed it: first in, first out among the ready ones, which
 * fixes the order in which `shareSecret` draws, as CIRCL has it.
 *
 * @throws AbeFormatError (ERR_ABE_FORMAT) unless the gates form a tree over all wires
 */
export function orderGates(gates: readonly Gate[]): Gate[] {
  const n = gates.length;
  const consumer = new Map<number, Gate>();
  const outputs = new Set<number>();
  for (const gate of gates) {
    for (const wire of [gate.in0, gate.in1]) {
      if (wire < 0 || wire >= 2 * n || consumer.has(wire)) {
        throw new AbeFormatError('formula: a wire is out of range or used twice');
      }
      consumer.set(wire, gate);
    }
    if (gate.out <= n || gate.out > 2 * n || outputs.has(gate.out)) {
      throw new AbeFormatError('formula: the output of a gate is out of range or set twice');
    }
    outputs.add(gate.out);
  }
  const missing = new Map<Gate, number>();
  for (const gate of gates) missing.set(gate, Number(gate.in0 > n) + Number(gate.in1 > n));
  const ordered = gates.filter((gate) => missing.get(gate) === 0);
  for (const gate of ordered) {
    const next = consumer.get(gate.out);
    if (next === undefined) continue;
    const left = (missing.get(next) ?? 0) - 1;
    missing.set(next, left);
    if (left === 0) ordered.push(next);
  }
  if (ordered.length !== n) throw new AbeFormatError('formula: the gates go in a circle');
  return ordered;
}

/** `gates and leaf`, where the new leaf gets the number after the existing ones. */
export function andLeaf(gates: readonly Gate[]): Gate[] {
  const n = gates.length;
  const shift = (wire: number): number => (wire > n ? wire + 1 : wire);
  const shifted = gates.map(({ kind, in0, in1, out }) => ({
    kind,
    in0: shift(in0),
    in1: shift(in1),
    out: shift(out),
  }));
  // The order of the two inputs decides which of them gets the random share: CIRCL's order.
  const [in0, in1] = n === 0 ? [0, 1] : [n + 1, 2 * n + 1];
  return [...shifted, { kind: 'and', in0, in1, out: 2 * n + 2 }];
}

/** A smallest set of leaves among the `available` that satisfies the formula, if there is one. */
export function satisfyingLeaves(
  gates: readonly Gate[],
  available: readonly boolean[],
): number[] | undefined {
  const chosen: (number[] | undefined)[] = available.map((yes, leaf) => (yes ? [leaf] : undefined));
  for (const { kind, in0, in1, out } of orderGates(gates)) {
    const [a, b] = [chosen[in0], chosen[in1]];
    if (kind === 'and') chosen[out] = a === undefined || b === undefined ? undefined : [...a, ...b];
    else chosen[out] = a === undefined || (b !== undefined && b.length < a.length) ? b : a;
  }
  return chosen[2 * gates.length];
}

/** One share for each leaf, of the secret's length. */
export type ShareSecret = (
  gates: readonly Gate[],
  secret: readonly Scalar[],
  random: RandomBytes,
) => (readonly Scalar[])[];

/**
 * Shares a vector so that the shares of exactly the satisfying sets of leaves sum up to it.
 *
 * From the output down: both inputs of an `or` get the gate's share; of an `and`, one gets a fresh
 * random vector and the other what is missing. Giving one of them the gate's whole share and the other
 * a sharing of zero also decrypts, and gives the secret to whoever holds that one leaf: so it was in
 * CIRCL before v1.6.4, and that leaf was the one which every key satisfies.
 */
export const shareSecret: ShareSecret = (gates, secret, random) => {
  const shares: (readonly Scalar[])[] = [];
  shares[2 * gates.length] = secret;
  for (const { kind, in0, in1, out } of orderGates(gates).reverse()) {
    const share = shares[out] ?? [];
    if (kind === 'or') {
      shares[in0] = share;
      shares[in1] = share;
    } else {
      const mask = share.map(() => sampleScalar(random));
      shares[in0] = mask;
      shares[in1] = share.map((x, i) => scalarSub(x, mask[i] ?? x));
    }
  }
  return shares.slice(0, gates.length + 1);
};
