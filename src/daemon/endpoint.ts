/** This member's endpoint record in tier 2: told anew before it ends, and when an address changed. */
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import type { Records } from '../overlay/records.ts';
import { ENDPOINT_RECORD } from '../overlay/stored-kinds.ts';
import type { Log } from './log.ts';
import { addressesOf } from './underlay.ts';

/** Seconds that an endpoint record lasts. */
const LIFETIME = 3600;
/** Milliseconds between publications. */
const INTERVAL_MS = (LIFETIME / 3) * 1000;

export interface EndpointOptions {
  readonly records: Records;
  readonly key: Ed25519PrivateKey;
  readonly serviceId: Ed25519PeerId;
  readonly peerId: Ed25519PeerId;
  /** Where this member can be dialled now. */
  readonly multiaddrs: () => string[];
  /** Addresses at which super-peers see it and that it does not have itself. */
  readonly observed: () => readonly string[];
  readonly log: Log;
}

export class EndpointPublisher implements AsyncDisposable {
  readonly #options: EndpointOptions;
  readonly #closed = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #publishing: Promise<void> = Promise.resolve();

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.publish(), INTERVAL_MS);
  }

  /** Stores the record at the nodes closest to its key. One publication at a time. */
  publish(): Promise<void> {
    this.#publishing = this.#publishing.then(() => this.#publish());
    return this.#publishing;
  }

  async #publish(): Promise<void> {
    const { records, key, serviceId, peerId, log } = this.#options;
    const multiaddrs = this.#options.multiaddrs().slice(0, 8);
    const candidates = new Set([...addressesOf(multiaddrs), ...this.#options.observed()]);
    const value = {
      serviceId,
      peerId,
      sequence: records.nextSequence(ENDPOINT_RECORD, serviceId, peerId),
      notAfter: Math.floor(Date.now() / 1000) + LIFETIME,
      multiaddrs,
      underlay: [...candidates].slice(0, 8),
    };
    try {
      await records.put(ENDPOINT_RECORD, value, key, { signal: this.#closed.signal });
    } catch (error) {
      if (!this.#closed.signal.aborted) log('endpoint-failed', { why: String(error) });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#closed.abort();
    await this.#publishing;
  }
}
