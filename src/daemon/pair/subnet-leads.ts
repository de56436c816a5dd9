/**
 * Leads each subnet to the peer that has it.
 *
 * ```
 *  credentials of members ─▶ as the policy permits ─▶ disjoint ─▶ routes and policies of each peer
 * ```
 */
import type { DataPlane } from '../../ipsec/dataplane.ts';
import type { Member as Listed } from '../../overlay/membership.ts';
import type { Log } from '../log.ts';
import { assignSubnets, hostBlock } from '../subnets.ts';
import type { Entry } from './entry.ts';

export interface SubnetLeadsOptions {
  readonly dataPlane: DataPlane;
  /** CIDRs that a member may have behind it, of those that its credential names. */
  readonly permitted: (member: Listed) => readonly string[];
  /** CIDRs that no peer can have behind it: this member's own, virtual addresses, super-peers. */
  readonly reserved: () => readonly string[];
  readonly log: Log;
}

export class SubnetLeads {
  readonly #options: SubnetLeadsOptions;

  constructor(options: SubnetLeadsOptions) {
    this.#options = options;
  }

  /** What goes from one peer to another is taken from the one first. A failure is tried again at the next call. */
  async follow(entries: ReadonlyMap<string, Entry>, members: readonly Listed[]): Promise<void> {
    const subnets = this.#assign(entries, members);
    for (const [id, entry] of entries) {
      const now = subnets.get(id) ?? [];
      const kept = entry.subnets.filter((each) => now.includes(each));
      await this.#lead(id, entry, kept);
    }
    for (const [id, now] of subnets) await this.#lead(id, entries.get(id), now);
  }

  #assign(
    entries: ReadonlyMap<string, Entry>,
    members: readonly Listed[],
  ): ReadonlyMap<string, readonly string[]> {
    const gateways = members.filter(({ subnets }) => subnets.length > 0);
    if (gateways.length === 0) return new Map();
    const { permitted, reserved } = this.#options;
    const announced = gateways.map((each) => ({
      id: each.peerId.toString(),
      subnets: permitted(each),
    }));
    // The way to a peer must not lead through a peer.
    const ends = [...entries.values()].flatMap(({ underlay: { local, remote } }) => [
      local,
      remote,
    ]);
    return assignSubnets(announced, [...reserved(), ...new Set(ends.map(hostBlock))]);
  }

  async #lead(id: string, entry: Entry | undefined, subnets: readonly string[]): Promise<void> {
    if (entry === undefined || entry.subnets.join() === subnets.join()) return;
    try {
      await this.#options.dataPlane.updatePeerSubnets(id, subnets);
      entry.subnets = subnets;
      this.#options.log('peer-subnets', { peer: id, subnets: subnets.join() || 'none' });
    } catch (error) {
      this.#options.log('peer-failed', { peer: id, why: String(error) });
    }
  }
}
