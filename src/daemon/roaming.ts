/**
 * Notices that this machine's own addresses have changed, and makes the node follow.
 *
 * ```
 *   kernel ── address, link events ──▶ settle ──▶ other addresses than before?
 *                                                  │ yes
 *        connections from addresses that are gone ◀┤ are cut: nothing would ever answer there
 *        super-peer, endpoint record, peers       ◀┘ learn the new ones, until there is a way to all
 * ```
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Prefix } from '../codec/ip.ts';
import { LinkMonitor } from '../ipsec/link/monitor.ts';
import type { Host } from '../overlay/host.ts';
import type { Log } from './log.ts';
import { machineAddresses } from './underlay.ts';

/** Milliseconds after the last event, since addresses and routes change in several steps. */
const SETTLE = 100;
/** Milliseconds between attempts while there is no route: routes tell nothing here when they come. */
const ROUTE_RETRY = 200;
const MAX_ATTEMPTS = 100;

export interface RoamingOptions {
  readonly host: Host;
  /** Prefixes of the service: addresses in them are no addresses of the machine. */
  readonly virtual: readonly Prefix[];
  /** Ask the kernel anew which addresses lead to others. */
  readonly refresh: () => Promise<void>;
  /** Attach to a super-peer from the new address. */
  readonly reattach: () => void;
  /** Publish the endpoint record anew. */
  readonly publish: () => Promise<void>;
  /** Point the SAs of all peers to the new address. @returns whether there is a way to all of them */
  readonly rehome: () => Promise<boolean>;
  readonly log: Log;
}

export class Roaming implements AsyncDisposable {
  readonly #options: RoamingOptions;
  readonly #monitor = new LinkMonitor();
  readonly #closed = new AbortController();
  #known: ReadonlySet<string>;
  #timer: NodeJS.Timeout | undefined;
  /** Grows with every event: work for what was before is given up. */
  #events = 0;
  #following: Promise<void> = Promise.resolve();

  constructor(options: RoamingOptions) {
    this.#options = options;
    this.#known = this.#addresses();
    this.#monitor.on('event', () => this.#settle());
    this.#monitor.on('error', (error) => options.log('roaming-failed', { why: String(error) }));
  }

  #addresses(): Set<string> {
    return new Set(machineAddresses(this.#options.virtual));
  }

  #settle(): void {
    clearTimeout(this.#timer);
    this.#events++;
    if (this.#closed.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#following = this.#following
        .then(() => this.#look())
        .catch((error) => this.#options.log('roaming-failed', { why: String(error) }));
    }, SETTLE);
  }

  async #look(): Promise<void> {
    const { host, refresh, reattach, publish, rehome, log } = this.#options;
    const [before, now] = [this.#known, this.#addresses()];
    if (now.size === 0 || this.#closed.signal.aborted) return;
    const gone = [...before].some((each) => !now.has(each));
    if (!gone && now.size === before.size) return;
    this.#known = now;
    log('address-changed', { now: [...now].join() });
    if (gone) {
      for (const connection of host.libp2p.getConnections()) {
        connection.abort(new Error('this node has another address'));
      }
    }
    const events = this.#events;
    await refresh();
    let whole = await rehome();
    reattach();
    for (let attempt = 0; attempt < MAX_ATTEMPTS && !whole; attempt++) {
      await delay(ROUTE_RETRY, undefined, { signal: this.#closed.signal }).catch(() => {});
      if (this.#closed.signal.aborted) return;
      // An address that went and came back is no change to `#look`.
      if (this.#events !== events) break;
      whole = await rehome();
    }
    void publish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    clearTimeout(this.#timer);
    this.#monitor.close();
    await this.#following;
  }
}
