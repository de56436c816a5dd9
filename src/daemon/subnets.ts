/**
 * Which subnet lies behind which peer, for this member. Pure.
 *
 * Two gateways may announce subnets that overlap, or one that nobody may have. All members decide
 * in the same way, without asking each other: of two that overlap, the gateway whose PeerID is lower as
 * text has its whole block and the other has none of its own.
 */
import { isIPv6 } from 'node:net';
import { overlap, parseSubnet, type Subnet } from '../policy/subnet.ts';

export interface Announcement {
  /** PeerID, as text. */
  readonly id: string;
  /** CIDRs. */
  readonly subnets: readonly string[];
}

/**
 * @param announced by other members
 * @param reserved CIDRs that no peer can have behind it: this member's own subnets, the service's virtual
 * addresses, and the addresses that ESP itself is sent to
 * @returns the disjoint subnets of each peer that has some
 */
export function assignSubnets(
  announced: readonly Announcement[],
  reserved: readonly string[],
): Map<string, string[]> {
  const taken: Subnet[] = reserved.map(parseSubnet);
  const assigned = new Map<string, string[]>();
  for (const { id, subnets } of announced.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    for (const text of subnets) {
      const block = parseSubnet(text);
      if (taken.some((each) => overlap(each, block))) continue;
      taken.push(block);
      assigned.set(id, [...(assigned.get(id) ?? []), text]);
    }
  }
  return assigned;
}

/** @returns the CIDR of one address */
export const hostBlock = (address: string): string => `${address}/${isIPv6(address) ? 128 : 32}`;
