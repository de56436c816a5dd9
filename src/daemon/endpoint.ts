/**
 * This member's endpoint record in tier 2: told anew before it ends, when an address changed, and soon
 * while nobody holds it, as when this member is the first or has met no other yet.
 */
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { ipsOf, MAX_MULTIADDRS, type TcpMultiaddr } from '../codec/multiaddr.ts';
import type { Records } from '../overlay/records.ts';
import { ENDPOINT_RECORD } from '../overlay/stored-kinds.ts';
import type { Log } from './log.ts';

/** Seconds that an endpoint record lasts. */
const LIFETIME = 3600;
/** Milliseconds between publications. */
const INTERVAL_MS = (LIFETIME / 3) * 1000;
/** The same after one that no other node took: doubled each time. */
const FIRST_RETRY_MS = 2_000;

export interface EndpointOptions {
  readonly records: Pick<Records, 'put' | 'nextSequence'>;
  readonly key: Ed25519PrivateKey;
  readonly serviceId: Ed25519PeerId;
  readonly peerId: Ed25519PeerId;
  /** Where this member can be dialled now. */
  readonly multiaddrs: () => TcpMultiaddr[];
  /** Addresses at which super-peers see it and that it does not have itself. */
  readonly observed: () => readonly string[];
  /** Milliseconds to the second try, when nobody took the first. */
  readonly retry?: number;
  readonly log: Log;
}

export class EndpointPublisher implements AsyncDisposable {
  readonly #options: EndpointOptions;
  readonly #closed = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #retry: number;
  #publishing: Promise<void> = Promise.resolve();

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#retry = options.retry ?? FIRST_RETRY_MS;
  }

  /** Stores the record at the nodes closest to its key, and sees to the next time. One publication at a time. */
  publish(): Promise<void> {
    this.#publishing = this.#publishing.then(() => this.#publish());
    return this.#publishing;
  }

  async #publish(): Promise<void> {
    const { records, key, serviceId, peerId, log } = this.#options;
    const multiaddrs = this.#options.multiaddrs().slice(0, MAX_MULTIADDRS);
    const candidates = new Set([...ipsOf(multiaddrs), ...this.#options.observed()]);
    const value = {
      serviceId,
      peerId,
      sequence: records.nextSequence(ENDPOINT_RECORD, serviceId, peerId),
      notAfter: Math.floor(Date.now() / 1000) + LIFETIME,
      multiaddrs,
      underlay: [...candidates].slice(0, 8),
    };
    const { signal } = this.#closed;
    let replicas = 0;
    try {
      ({ replicas } = await records.put(ENDPOINT_RECORD, value, key, { signal }));
    } catch (error) {
      if (!signal.aborted) log('endpoint-failed', { why: String(error) });
    }
    if (!signal.aborted) this.#again(replicas > 0);
  }

  #again(held: boolean): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.publish(), held ? INTERVAL_MS : this.#retry);
    this.#retry = held
      ? (this.#options.retry ?? FIRST_RETRY_MS)
      : Math.min(2 * this.#retry, INTERVAL_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    clearTimeout(this.#timer);
    await this.#publishing;
  }
}
