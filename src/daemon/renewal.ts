/**
 * Keeps a node's credential fresh: renewed at any super-peer of the service before it ends, and at
 * once when the service moves to another epoch, or when there is more to be had than it names.
 *
 * ```
 *  issued            due: 2/3 of the lifetime, up to a tenth earlier            ends
 *    ├──────────────────────────────────┬────────────────────────────────────────┤
 *                                       └ tried at each super-peer, again and again
 * ```
 *
 * A renewal proves the old credential and the key that came with it; SRP is not run again. Members
 * draw their moment at random, so that those admitted together do not come together.
 */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RenewalWish, renewAtAny } from './renew.ts';
import type { Standing } from './standing.ts';

/** Between rounds over all super-peers, in milliseconds: doubled each time, up to the limit. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;
/** Node's timers hold at most 2^31-1 ms. */
const LONGEST_WAIT_MS = 2 ** 31 - 1;

export interface RenewalOptions extends RenewalWish {
  readonly onRenewed: (standing: Standing) => void;
  /** Whether another credential could name more than this one; not asked for if left out. */
  readonly isLacking?: (standing: Standing) => boolean;
}

export class Renewal implements AsyncDisposable {
  readonly #options: RenewalOptions;
  #standing: Standing;
  #problem: string | undefined;
  readonly #closed = new AbortController();
  /** Aborted to make the next renewal due at once. */
  #hurry = new AbortController();
  readonly #running: Promise<void>;

  constructor(standing: Standing, options: RenewalOptions) {
    this.#standing = standing;
    this.#options = options;
    this.#running = this.#run();
  }

  /** Why the last round renewed nothing; undefined when it did, or none was due. */
  get problem(): string | undefined {
    return this.#problem;
  }

  get standing(): Standing {
    return this.#standing;
  }

  /** Renews at once when the service has moved to another epoch than the credential is of. */
  follow(epoch: number): void {
    if (this.#standing.credential.value.epoch !== epoch) this.#hurry.abort();
  }

  /** Renews at once when the credential names less than it could: what it may name has changed. */
  look(): void {
    if (this.#isLacking()) this.#hurry.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      await this.#wait(dueIn(this.#standing));
      for (let wait = FIRST_RETRY_MS; !signal.aborted; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
        // A super-peer may hear of what has changed later than this node.
        if ((await this.#round()) && !this.#isLacking()) break;
        await sleep(wait, undefined, { signal }).catch(() => {});
      }
    }
  }

  async #wait(ms: number): Promise<void> {
    const signal = AbortSignal.any([this.#closed.signal, this.#hurry.signal]);
    await sleep(Math.min(ms, LONGEST_WAIT_MS), undefined, { signal }).catch(() => {});
    this.#hurry = new AbortController();
  }

  /** @returns whether one super-peer renewed */
  async #round(): Promise<boolean> {
    try {
      const renewed = await renewAtAny(this.#standing, this.#options, this.#closed.signal);
      this.#problem = undefined;
      this.#standing = renewed;
      this.#options.onRenewed(renewed);
      return true;
    } catch (error) {
      // A super-peer may answer at the next round; status tells why none has.
      this.#problem = error instanceof Error ? error.message : String(error);
      return false;
    }
  }

  #isLacking(): boolean {
    return this.#options.isLacking?.(this.#standing) ?? false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    await this.#running;
  }
}

/** Milliseconds until a renewal is due. */
function dueIn({ credential: { value } }: Standing): number {
  const lifetime = value.notAfter - value.notBefore;
  const latest = value.notBefore + Math.floor((lifetime * 2) / 3);
  const due = latest - randomInt(Math.max(1, Math.floor(lifetime / 10)));
  return Math.max(0, due * 1000 - Date.now());
}
