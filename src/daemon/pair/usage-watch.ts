/** Reads what the kernel counted for all pairs at once, now and then. */
import type { DataPlane, SaCounters } from '../../ipsec/dataplane.ts';
import type { Log } from '../log.ts';

/** Milliseconds between readings; a part of the silence after which a peer is asked. */
const INTERVAL = 2_000;

export interface UsageWatchOptions {
  readonly dataPlane: Pick<DataPlane, 'counters'>;
  /** Whether there is a pair that has SAs: otherwise the kernel is left alone. */
  readonly wanted: () => boolean;
  readonly onUsage: (peerId: string, usage: readonly SaCounters[]) => void;
  readonly log: Log;
  /** Milliseconds; {@link INTERVAL} if left out. */
  readonly interval?: number;
}

export class UsageWatch implements AsyncDisposable {
  readonly #options: UsageWatchOptions;
  readonly #timer: NodeJS.Timeout;
  #reading: Promise<void> | undefined;

  constructor(options: UsageWatchOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), options.interval ?? INTERVAL);
  }

  #look(): void {
    if (!this.#options.wanted()) return;
    // A slow kernel is not asked again before it has answered.
    this.#reading ??= this.#read()
      .catch((error) => this.#options.log('counters-failed', { why: String(error) }))
      .finally(() => {
        this.#reading = undefined;
      });
  }

  async #read(): Promise<void> {
    const all = Map.groupBy(await this.#options.dataPlane.counters(), ({ peerId }) => peerId);
    for (const [peerId, usage] of all) this.#options.onUsage(peerId, usage);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#reading;
  }
}
