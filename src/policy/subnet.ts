/** Address blocks as ranges of numbers, which can be compared quickly. */
import { formatPrefix, parseIp, parsePrefix } from '../codec/ip.ts';

export interface Subnet {
  /** As a CIDR, in its one spelling. */
  readonly text: string;
  readonly bits: 32 | 128;
  readonly first: bigint;
  readonly last: bigint;
}

/** @throws AddressError also when bits behind the prefix length are set */
export function parseSubnet(text: string): Subnet {
  const prefix = parsePrefix(text);
  const raw = parseIp(prefix.network);
  const bits = raw.length === 4 ? 32 : 128;
  const first = BigInt(`0x${Buffer.from(raw).toString('hex')}`);
  const last = first + (1n << BigInt(bits - prefix.length)) - 1n;
  return { text: formatPrefix(prefix), bits, first, last };
}

/** Whether all of `inner` lies in `outer`. */
export const covers = (outer: Subnet, inner: Subnet): boolean =>
  outer.bits === inner.bits && outer.first <= inner.first && inner.last <= outer.last;

/** Two address blocks share all of the smaller one or nothing. */
export const overlap = (a: Subnet, b: Subnet): boolean => covers(a, b) || covers(b, a);

/** @returns what both have: the smaller of the two; undefined when they share nothing */
export function intersection(a: Subnet, b: Subnet): Subnet | undefined {
  if (covers(a, b)) return b;
  return covers(b, a) ? a : undefined;
}
