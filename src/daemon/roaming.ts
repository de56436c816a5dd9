/**
 * Notices that this machine sends by another way than before, and makes the node follow.
 *
 * ```
 *   kernel ── address, link, route, rule events ──▶ settle ──▶ other addresses, or another source to somebody?
 *                                                               │ yes
 *        connections where it has changed, or all if an        ◀┤ nothing would ever answer there
 *        address is gone, are cut                               │
 *        super-peer, endpoint record, peers learn the new ones ◀┘ until there is a way to all
 * ```
 *
 * A full tunnel that comes up takes no address away, and still all packets go by it, from another source.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from '@libp2p/interface';
import type { Prefix } from '../codec/ip.ts';
import { ipOf } from '../codec/multiaddr.ts';
import { LinkMonitor } from '../ipsec/link/monitor.ts';
import type { Host } from '../overlay/host.ts';
import type { Log } from './log.ts';
import { Sources } from './sources.ts';
import { localAddressTowards, machineAddresses } from './underlay.ts';

/** Milliseconds after an event, since addresses and routes change in several steps. */
const SETTLE = 100;
/** Milliseconds between attempts while there is no route. */
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
  readonly #monitor = new LinkMonitor({ routes: true, rules: true });
  readonly #closed = new AbortController();
  readonly #sources: Sources;
  #known: ReadonlySet<string>;
  #timer: NodeJS.Timeout | undefined;
  /** Grows with every event: work for what was before is given up. */
  #events = 0;
  /** Whether there was a way to all peers when that was tried last. */
  #whole = true;
  #following: Promise<void> = Promise.resolve();
  readonly #onOpen = ({ detail }: CustomEvent<Connection>): void => {
    for (const remote of remotesOf([detail])) {
      this.#sources.add(remote).catch((error) => this.#failed(error));
    }
  };

  constructor(options: RoamingOptions) {
    this.#options = options;
    const { signal } = this.#closed;
    this.#sources = new Sources((remote) =>
      localAddressTowards(remote, { signal }).catch(() => undefined),
    );
    this.#known = this.#addresses();
    const { libp2p } = options.host;
    libp2p.addEventListener('connection:open', this.#onOpen);
    for (const connection of libp2p.getConnections()) {
      this.#onOpen(new CustomEvent('connection:open', { detail: connection }));
    }
    this.#monitor.on('event', () => this.#settle());
    this.#monitor.on('error', (error) => this.#failed(error));
  }

  #failed(error: unknown): void {
    this.#options.log('roaming-failed', { why: String(error) });
  }

  #addresses(): Set<string> {
    return new Set(machineAddresses(this.#options.virtual));
  }

  #settle(): void {
    this.#events++;
    if (this.#closed.signal.aborted || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#following = this.#following
        .then(() => this.#look())
        .catch((error) => this.#failed(error));
    }, SETTLE);
  }

  async #look(): Promise<void> {
    const { host, refresh, reattach, publish, rehome, log } = this.#options;
    const [before, now] = [this.#known, this.#addresses()];
    if (now.size === 0 || this.#closed.signal.aborted) return;
    const connections = host.libp2p.getConnections();
    const changed = await this.#sources.look(remotesOf(connections));
    if (this.#closed.signal.aborted) return;
    const same = now.size === before.size && [...before].every((each) => now.has(each));
    if (same && changed.length === 0 && this.#whole) return;
    this.#known = now;
    if (!same || changed.length > 0) {
      log('address-changed', { now: [...now].join(), elsewhere: changed.length });
    }
    const gone = [...before].some((each) => !now.has(each));
    for (const connection of connections) {
      const isElsewhere = remotesOf([connection]).some((each) => changed.includes(each));
      // Which connections were at the address that is gone is not known.
      if (gone || isElsewhere) connection.abort(new Error('this node has another address'));
    }
    const events = this.#events;
    await refresh();
    this.#whole = await rehome();
    reattach();
    for (let attempt = 0; attempt < MAX_ATTEMPTS && !this.#whole; attempt++) {
      await delay(ROUTE_RETRY, undefined, { signal: this.#closed.signal }).catch(() => {});
      if (this.#closed.signal.aborted) return;
      if (this.#events !== events) break; // what follows them goes on
      this.#whole = await rehome();
    }
    void publish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    this.#options.host.libp2p.removeEventListener('connection:open', this.#onOpen);
    clearTimeout(this.#timer);
    this.#monitor.close();
    await this.#following;
  }
}

const remotesOf = (connections: readonly Connection[]): string[] =>
  connections.flatMap(({ remoteAddr }) => ipOf(remoteAddr) ?? []);
