/**
 * Leads each subnet to the peer that has it.
 *
 * ```
 *  credentials of members ─▶ as the policy permits ─▶ disjoint ─▶ routes and policies of each peer
 * ```
 *
 * The way to a peer must not lead through a peer. Where an address of the one lies in a subnet of the other, the word of
 * the owner's policy counts more than that of a member: any member could take a gateway's subnet away else, by
 * telling an address in it. Only where a connection has shown it, it is there.
 */
import type { DataPlane } from '../../ipsec/dataplane.ts';
import type { Member as Listed } from '../../overlay/membership.ts';
import { overlap, parseSubnet, type Subnet } from '../../policy/subnet.ts';
import { heldSince } from '../../records/credential.ts';
import type { Log } from '../log.ts';
import {
  type Announcement,
  assignSubnets,
  hostBlock,
  type SubnetConflict,
  subnetConflicts,
} from '../subnets.ts';
import { ToldConflicts } from '../told-conflicts.ts';
import type { Entry } from './entry.ts';

export interface SubnetLeadsOptions {
  readonly dataPlane: Pick<DataPlane, 'updatePeerSubnets'>;
  /** CIDRs that a member may have behind it, of those that its credential names. */
  readonly permitted: (member: Listed) => readonly string[];
  /** CIDRs that no peer can have behind it: this member's own, virtual addresses, super-peers. */
  readonly reserved: () => readonly string[];
  /** What this member announces itself, as far as the policy permits it. */
  readonly announced: () => Announcement;
  readonly log: Log;
}

type Led = Pick<Entry, 'underlay' | 'seenAt' | 'subnets'>;

export class SubnetLeads {
  readonly #options: SubnetLeadsOptions;
  /** By PeerID, of those that have some. */
  readonly #blocks = new Map<string, readonly Subnet[]>();
  readonly #conflicts: ToldConflicts<SubnetConflict>;

  constructor(options: SubnetLeadsOptions) {
    this.#options = options;
    this.#conflicts = new ToldConflicts(({ subnet, holder, refused }) =>
      options.log('subnet-conflict', { subnet, holder, refused }),
    );
  }

  /** Members of the newest list that announce what another one has. */
  get conflicts(): readonly SubnetConflict[] {
    return this.#conflicts.all;
  }

  /** What goes from one peer to another is taken from the one first. A failure is tried again at the next call. */
  async follow(entries: ReadonlyMap<string, Led>, members: readonly Listed[]): Promise<void> {
    const subnets = this.#assign(entries, members);
    for (const id of this.#blocks.keys()) if (!entries.has(id)) this.#blocks.delete(id);
    for (const [id, entry] of entries) {
      const now = subnets.get(id) ?? [];
      const kept = entry.subnets.filter((each) => now.includes(each));
      await this.#lead(id, entry, kept);
    }
    for (const [id, now] of subnets) await this.#lead(id, entries.get(id), now);
  }

  /** Whether an address that a peer tells is behind another peer. */
  isBehindAnother(id: string, address: string): boolean {
    const block = parseSubnet(hostBlock(address));
    return [...this.#blocks].some(
      ([other, blocks]) => other !== id && blocks.some((each) => overlap(each, block)),
    );
  }

  #assign(
    entries: ReadonlyMap<string, Led>,
    members: readonly Listed[],
  ): ReadonlyMap<string, readonly string[]> {
    const { permitted, reserved, announced: own } = this.#options;
    const gateways: Announcement[] = members
      .filter(({ subnets }) => subnets.length > 0)
      .map((each) => ({
        ...{ id: each.peerId.toString(), subnets: permitted(each) },
        since: heldSince(each.credential.value),
      }));
    this.#conflicts.follow(gateways.length === 0 ? [] : subnetConflicts([...gateways, own()]));
    if (gateways.length === 0) return new Map();
    const announced = gateways.map(({ id, since, subnets }) => {
      const { remote } = entries.get(id)?.underlay ?? {};
      const way = remote === undefined ? [] : [parseSubnet(hostBlock(remote))];
      const led = subnets.filter((subnet) => !way.some((a) => overlap(a, parseSubnet(subnet))));
      return { id, since, subnets: led };
    });
    const ends = [...entries.values()].flatMap(({ underlay: { local, remote }, seenAt }) =>
      remote === seenAt ? [local, remote] : [local],
    );
    return assignSubnets(announced, [...reserved(), ...new Set(ends.map(hostBlock))]);
  }

  async #lead(id: string, entry: Led | undefined, subnets: readonly string[]): Promise<void> {
    if (entry === undefined || entry.subnets.join() === subnets.join()) return;
    try {
      await this.#options.dataPlane.updatePeerSubnets(id, subnets);
      entry.subnets = subnets;
      this.#blocks.set(id, subnets.map(parseSubnet));
      this.#options.log('peer-subnets', { peer: id, subnets: subnets.join() || 'none' });
    } catch (error) {
      this.#options.log('peer-failed', { peer: id, why: String(error) });
    }
  }
}
