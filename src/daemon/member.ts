/**
 * A running member: one VM in one service.
 *
 * ```
 * arrive ───────────────▶ openKernel ─▶ enterNetwork ─▶ becomePresent ─▶ up
 *  host; standing from     firewall,     tier 2,         directory: members,
 *  the cache, or by SRP    interface     policy, peers   trap policies
 *    ▲                                                                  │
 *    └──────── all closed ◀── a renewal gave another address ◀──────────┘
 * ```
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { IcvpnError } from '../errors.ts';
import type { DataPlane, GuardLeft } from '../ipsec/dataplane.ts';
import type { Host } from '../overlay/host.ts';
import { POLICY_RECORD } from '../overlay/stored-kinds.ts';
import { arrive } from './member/arrival.ts';
import { type Ending, openKernel } from './member/kernel.ts';
import { enterNetwork, type Network } from './member/network.ts';
import type { MemberOptions } from './member/options.ts';
import { becomePresent, type Presence } from './member/presence.ts';
import { isRevoked } from './member/refused-start.ts';
import { memberStatus, memberView, policyView } from './member-status.ts';
import type { MemberStatus, MemberView, PolicyView } from './status.ts';

interface Parts extends Network, Presence {
  readonly host: Host;
  readonly dataPlane: DataPlane;
  readonly ending: Ending;
}

/** A member from its arrival to its end, with one virtual address. */
interface Session {
  readonly parts: Parts;
  readonly owned: AsyncDisposableStack;
}

/** Between attempts to start anew, in milliseconds: doubled each time, up to the limit. */
const RETRY_MS = { first: 1_000, most: 60_000 };

export class Member implements AsyncDisposable {
  readonly #options: MemberOptions;
  readonly #closed = new AbortController();
  /** Undefined while it starts anew with another address. */
  #session: Session | undefined;
  #readdressing: Promise<void> | undefined;
  #keepGuard = true;
  #left: GuardLeft | undefined;

  private constructor(options: MemberOptions) {
    this.#options = options;
  }

  /**
   * @returns a member that is admitted, attached to a super-peer and ready for its first packet
   * @throws IcvpnError with what is wrong; nothing is left in the kernel or running then
   */
  static async start(options: MemberOptions): Promise<Member> {
    const member = new Member(options);
    member.#session = await member.#begin(options);
    return member;
  }

  async #begin(options: MemberOptions): Promise<Session> {
    await using owned = new AsyncDisposableStack();
    const arrival = await arrive(options, owned);
    const kernel = await openKernel(options, arrival, owned);
    const network = await enterNetwork(options, arrival, kernel, owned);
    const onReaddressed = (ipv4: string): void => this.#readdress(ipv4);
    const presence = await becomePresent(options, arrival, network, onReaddressed, owned);
    const { serviceId, ipv4 } = arrival.standing.credential.value;
    options.log('up', { service: serviceId, ipv4 });
    const { host } = arrival;
    const { dataPlane, ending } = kernel;
    // Whoever is not told to leave comes back: until then nothing is to leave in clear.
    ending.keepGuard = true;
    const parts = { host, dataPlane, ending, ...network, ...presence };
    return { parts, owned: owned.move() };
  }

  /** A renewal gave another address: interface, policies and SAs are those of the old one. */
  #readdress(ipv4: string): void {
    this.#options.log('address-changed', { ipv4 });
    this.#readdressing ??= this.#startAnew().finally(() => {
      this.#readdressing = undefined;
    });
  }

  async #startAnew(): Promise<void> {
    const { log, bootstrap: _, ...options } = this.#options;
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    const session = this.#session;
    this.#session = undefined;
    await session?.owned.disposeAsync();
    for (let wait = RETRY_MS.first; !signal.aborted; wait = Math.min(2 * wait, RETRY_MS.most)) {
      try {
        this.#session = await this.#begin({ ...options, log, signal });
        return;
      } catch (error) {
        if (signal.aborted) return;
        log('start-failed', { why: String(error), retry: wait });
        await sleep(wait, undefined, { signal }).catch(() => {});
      }
    }
  }

  get #parts(): Parts {
    if (this.#session !== undefined) return this.#session.parts;
    throw new IcvpnError(
      'ERR_STARTING',
      'this member starts anew, with another virtual address',
      'try again in a few seconds',
    );
  }

  async status(): Promise<MemberStatus> {
    const { renewal, tier } = this.#parts;
    return memberStatus({
      ...this.#parts,
      credential: renewal.standing.credential,
      renewalProblem: renewal.problem,
      revoked: renewal.revoked || isRevoked(tier.trust, renewal.standing.credential),
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

  /** It will not come back: its guard goes with it, unless that is to stay. */
  leave({ keepGuard }: { readonly keepGuard: boolean }): void {
    this.#keepGuard = keepGuard;
  }

  /** What became of its guard in the end. */
  left(): GuardLeft | undefined {
    return this.#left;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#options.log('down');
    this.#closed.abort();
    await this.#readdressing;
    if (this.#session === undefined) return;
    const { parts, owned } = this.#session;
    parts.ending.keepGuard = this.#keepGuard;
    await owned.disposeAsync();
    this.#left = parts.ending.left;
  }
}
