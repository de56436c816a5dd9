/**
 * A member that super-peers refuse while it starts: a renewal hears why, and mends what can be mended.
 *
 * ```
 *  gate: refused by a super-peer ─▶ renewal ─┬─ granted ─▶ the new standing, attached again
 *                                            ├─ revoked ─▶ the start ends
 *                                            └─ neither ─▶ as without super-peers
 * ```
 */
import { RevokedError } from '../../admission/errors.ts';
import { IcvpnError } from '../../errors.ts';
import { holdDescriptor, type ServiceTrust } from '../../overlay/service-trust.ts';
import type { Credential } from '../../records/credential.ts';
import type { Opened } from '../../records/envelope.ts';
import { renewAtAny, saysRevoked } from '../renew.ts';
import type { Tier } from '../tier.ts';
import type { Arrival } from './arrival.ts';
import type { MemberOptions } from './options.ts';

/** Whether a list that this node holds throws it out. */
export const isRevoked = (
  trust: Pick<ServiceTrust, 'trust'>,
  credential: Opened<Credential>,
): boolean => trust.trust().revoked?.(credential) === true;

/** A renewal gave another virtual address than the one that the start has put into the kernel. */
class AddressChangedError extends IcvpnError {
  constructor(ipv4: string) {
    super(
      'ERR_ADDRESS_CHANGED',
      `this VM was given another virtual address while it started, ${ipv4}`,
      'run icvpn up again',
    );
  }
}

export class RefusedStart implements Disposable {
  readonly #options: MemberOptions;
  readonly #arrival: Arrival;
  readonly #tier: Tier;
  readonly #ended = new AbortController();
  #over = false;
  #asking: Promise<void> | undefined;
  #reattach: () => void = () => {};

  /** @throws RevokedError when a list that this node holds throws it out */
  constructor(options: MemberOptions, arrival: Arrival, tier: Tier) {
    this.#options = options;
    this.#arrival = arrival;
    this.#tier = tier;
    if (isRevoked(tier.trust, arrival.standing.credential)) throw new RevokedError();
    tier.gate.on('refused', (peer) => {
      if (this.#over || !tier.trust.trust().admitters.some((id) => id.equals(peer))) return;
      this.#asking ??= this.#ask();
    });
  }

  /** Aborted, with the reason, when there is nothing to start. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** @param reattach called when a renewal has mended it */
  onMended(reattach: () => void): void {
    this.#reattach = reattach;
  }

  /** Returns when it is known why, if this node was refused. @throws RevokedError, AddressChangedError */
  async settled(): Promise<void> {
    await this.#asking;
    this.signal.throwIfAborted();
  }

  async #ask(): Promise<void> {
    const { subnets = [], log, signal } = this.#options;
    const { host, bootstrap, superPeers, state, standing } = this.#arrival;
    const { key, cache } = state;
    const wish = { host, key, cache, serviceId: bootstrap.serviceId, subnets, log };
    const { ipv4 } = standing.credential.value;
    const { epoch } = this.#tier.trust.trust();
    try {
      const own = { ...wish, superPeers: () => superPeers.all };
      const renewed = await renewAtAny(standing, own, signal, epoch);
      this.#arrival.standing = renewed;
      await holdDescriptor(this.#tier.store, renewed.descriptor);
      const given = renewed.credential.value.ipv4;
      if (given !== ipv4) return this.#ended.abort(new AddressChangedError(given));
      this.#reattach();
    } catch (error) {
      // Whoever cannot be asked may answer later: the start goes on, and the renewals after it.
      if (saysRevoked(error)) this.#ended.abort(new RevokedError());
    }
  }

  /** The start is over: refusals are the renewal's from now on. */
  [Symbol.dispose](): void {
    this.#over = true;
  }
}
