/**
 * A running member: one VM in one service.
 *
 * ```
 * arrive ───────────────▶ openKernel ─▶ enterNetwork ─▶ becomePresent ─▶ up
 *  host; standing from     firewall,     tier 2,         directory: members,
 *  the cache, or by SRP    interface     policy, peers   trap policies
 * ```
 */
import type { DataPlane } from '../ipsec/dataplane.ts';
import type { Host } from '../overlay/host.ts';
import { POLICY_RECORD } from '../overlay/stored-kinds.ts';
import { arrive } from './member/arrival.ts';
import { openKernel } from './member/kernel.ts';
import { enterNetwork, type Network } from './member/network.ts';
import type { MemberOptions } from './member/options.ts';
import { becomePresent, type Presence } from './member/presence.ts';
import { memberStatus, memberView, policyView } from './member-status.ts';
import type { MemberStatus, MemberView, PolicyView } from './status.ts';

interface Parts extends Network, Presence {
  readonly host: Host;
  readonly dataPlane: DataPlane;
}

export class Member implements AsyncDisposable {
  readonly #options: MemberOptions;
  readonly #parts: Parts;
  readonly #owned: AsyncDisposableStack;

  private constructor(options: MemberOptions, parts: Parts, owned: AsyncDisposableStack) {
    this.#options = options;
    this.#parts = parts;
    this.#owned = owned;
  }

  /**
   * @returns a member that is admitted, attached to a super-peer and ready for its first packet
   * @throws IcvpnError with what is wrong; nothing is left in the kernel or running then
   */
  static async start(options: MemberOptions): Promise<Member> {
    await using owned = new AsyncDisposableStack();
    const arrival = await arrive(options, owned);
    const kernel = await openKernel(options, arrival, owned);
    const network = await enterNetwork(options, arrival, kernel, owned);
    const presence = await becomePresent(options, arrival, network, owned);
    const { serviceId, ipv4 } = arrival.standing.credential.value;
    options.log('up', { service: serviceId, ipv4 });
    const { host } = arrival;
    const parts = { host, dataPlane: kernel.dataPlane, ...network, ...presence };
    return new Member(options, parts, owned.move());
  }

  async status(): Promise<MemberStatus> {
    const { renewal, tier } = this.#parts;
    return memberStatus({
      ...this.#parts,
      credential: renewal.standing.credential,
      renewalProblem: renewal.problem,
      service: tier.trust.descriptor.value,
      interfaceName: this.#options.interfaceName,
    });
  }

  /** What this member may see of the service's members: all of it, as super-peers told it. */
  members(): MemberView {
    const { directory, tier, renewal } = this.#parts;
    return memberView(tier.trust.descriptor.value, directory, renewal.standing.credential.value);
  }

  /** The newest policy that this member knows; undefined while it knows none. */
  policy(): PolicyView | undefined {
    const { policy, tier } = this.#parts;
    return policyView(policy, tier.records.latest(POLICY_RECORD, tier.trust.serviceId)?.value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#options.log('down');
    await this.#owned.disposeAsync();
  }
}
