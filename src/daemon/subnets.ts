/**
 * Which subnet lies behind which peer, for this member. Pure.
 *
 * Two gateways may announce subnets that overlap, or one that nobody may have. All members decide in the same way,
 * without asking each other, as for addresses: of two that overlap, the gateway with the older lease has its whole block
 * and the other has none of its own; at equal times the one whose PeerID is lower as text.
 */
import { isIPv6 } from 'node:net';
import { overlap, parseSubnet, type Subnet } from '../policy/subnet.ts';

export interface Announcement {
  /** PeerID, as text. */
  readonly id: string;
  /** Since when it has its address, in seconds since 1970. */
  readonly since: number;
  /** CIDRs. */
  readonly subnets: readonly string[];
}

/** Two members announce subnets with addresses in common. */
export interface SubnetConflict {
  /** CIDR that is not led to the member that is refused. */
  readonly subnet: string;
  /** PeerIDs, as text. */
  readonly holder: string;
  readonly refused: string;
}

const firstComes = (a: Announcement, b: Announcement): number =>
  a.since - b.since || (a.id < b.id ? -1 : 1);

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
  for (const { id, subnets } of announced.toSorted(firstComes)) {
    for (const text of subnets) {
      const block = parseSubnet(text);
      if (taken.some((each) => overlap(each, block))) continue;
      taken.push(block);
      assigned.set(id, [...(assigned.get(id) ?? []), text]);
    }
  }
  return assigned;
}

/** @param announced by all members, this one among them @returns each subnet that another member had first */
export function subnetConflicts(announced: readonly Announcement[]): SubnetConflict[] {
  const taken: { readonly id: string; readonly block: Subnet }[] = [];
  const conflicts: SubnetConflict[] = [];
  for (const { id, subnets } of announced.toSorted(firstComes)) {
    for (const subnet of subnets) {
      const block = parseSubnet(subnet);
      const clashes = taken.filter((each) => overlap(each.block, block));
      const first = clashes.find((each) => each.id !== id);
      if (first) conflicts.push({ subnet, holder: first.id, refused: id });
      else if (clashes.length === 0) taken.push({ id, block });
    }
  }
  return conflicts;
}

/** @returns the CIDR of one address */
export const hostBlock = (address: string): string => `${address}/${isIPv6(address) ? 128 : 32}`;
