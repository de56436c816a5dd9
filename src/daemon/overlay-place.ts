/**
 * The place in tier 1 of a super-peer that the overlay's descriptor does not name: it attaches to a named one,
 * as a member does to its service, so that it is in the overlay's membership shard while it is there.
 *
 * ```
 *  operator ─ descriptor ─▶ named super-peer ─ SRP, once ─▶ credential: the grant
 *                              ▲    │ directory: all that have a grant and are there
 *                      attach  │    ▼
 *                            this super-peer ─▶ stays connected to some of them
 * ```
 */
import { multiaddr } from '@multiformats/multiaddr';
import { DirectoryClient } from '../overlay/directory-client.ts';
import type { Target } from '../overlay/gate.ts';
import { type SuperPeerAddress, superPeerAddresses } from '../records/bootstrap.ts';
import { contacts } from './contacts.ts';
import type { Log } from './log.ts';
import type { Contact, Tier } from './tier.ts';

/** Milliseconds that saying goodbye may take. */
const GOODBYE = 2_000;

export interface OverlayPlaceOptions {
  readonly tier: Tier;
  /** Of the bootstrap data. */
  readonly superPeers: readonly SuperPeerAddress[];
  readonly log: Log;
}

export class OverlayPlace implements AsyncDisposable {
  readonly #options: OverlayPlaceOptions;
  readonly #directory: DirectoryClient;
  readonly #closed = new AbortController();
  readonly #attaching: Promise<void>;

  constructor(options: OverlayPlaceOptions) {
    this.#options = options;
    const { tier } = options;
    const { gate } = tier;
    this.#directory = new DirectoryClient({
      ...{ gate, trust: () => tier.trust.trust(), superPeers: () => this.#named() },
      multiaddrs: () => gate.host.multiaddrs(),
    });
    this.#directory.on('change', (members) => {
      tier.keep([...this.#bootstrap(), ...contacts(gate.host.peerId, members)]);
    });
    this.#directory.on('round', () => {
      options.log('attach-failed', { why: this.#directory.problem ?? 'unknown' });
    });
    // Not waited for: a super-peer that starts while all named ones are down serves its services.
    this.#attaching = this.#directory.attach({ signal: this.#closed.signal }).catch(() => {});
  }

  /** After a renewal: the others are to have the newer credential. */
  reattach(): void {
    this.#directory.reattach();
  }

  #bootstrap(): Contact[] {
    return this.#options.superPeers.map((each) => ({ ...each, multiaddrs: [each.multiaddr] }));
  }

  #named(): Target[] {
    const { superPeers, tier } = this.#options;
    const named = superPeerAddresses(tier.trust.descriptor.value);
    const targets = [...superPeers, ...named].map((each) => each.multiaddr.toString());
    return [...new Set(targets)].map((each) => multiaddr(each));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    await this.#attaching;
    const signal = AbortSignal.timeout(GOODBYE);
    await this.#directory.goodbye({ signal }).catch(() => this.#directory.close());
  }
}
