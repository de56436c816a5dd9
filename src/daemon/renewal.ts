/**
 * Keeps a node's credential fresh: renewed at any super-peer of the service before it ends, and at
 * once when it lacks something: the service has moved to another epoch, the super-peer that signed it is named no
 * more, or there is more to be had than it names.
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
import { holdDescriptor } from '../overlay/service-trust.ts';
import { isBehind } from '../records/credential.ts';
import { type RenewalWish, renewAtAny, saysRevoked } from './renew.ts';
import type { Standing } from './standing.ts';
import type { Tier } from './tier.ts';

/** Between rounds over all super-peers, in milliseconds: doubled each time, up to the limit. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;
/** Between renewals for no better reason than that super-peers refuse this node. */
const DOUBT_INTERVAL_MS = 60_000;
/** Milliseconds between looks at the clock: timers stand still while a machine is suspended, credentials do not. */
const LOOK_MS = 15_000;

export interface RenewalOptions extends RenewalWish {
  readonly onRenewed: (standing: Standing) => void;
  /** Whether another credential could name more than this one; not asked for if left out. */
  readonly isLacking?: (standing: Standing) => boolean;
  /** Milliseconds between looks at the clock; 15 seconds when left out. */
  readonly lookEvery?: number;
}

export class Renewal implements AsyncDisposable {
  readonly #options: RenewalOptions;
  #standing: Standing;
  #problem: string | undefined;
  #revoked = false;
  readonly #closed = new AbortController();
  /** What this credential is for; undefined before it is there. */
  #tier: Tier | undefined;
  /** When super-peers' refusals last made a renewal due, by the monotonic clock. */
  #doubted = Number.NEGATIVE_INFINITY;
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

  /** Whether a super-peer told, when it was last asked, that this node was thrown out. */
  get revoked(): boolean {
    return this.#revoked;
  }

  get standing(): Standing {
    return this.#standing;
  }

  /** Renews at once when the credential lacks something: what it is held against has changed. */
  look(): void {
    if (this.#isLacking()) this.#hurry.abort();
  }

  /** Renews at once from now on when the service moves on, and when its super-peers refuse this node. */
  follow(tier: Tier): void {
    this.#tier = tier;
    tier.trust.on('change', () => this.look());
    tier.gate.on('refused', (peer) => {
      // Where it knows no reason it hears one: that it was revoked, or what it has missed.
      if (tier.trust.trust().admitters.some((id) => id.equals(peer))) this.#doubt();
    });
    this.look();
  }

  #doubt(): void {
    const now = performance.now();
    if (now - this.#doubted <= DOUBT_INTERVAL_MS) return;
    this.#doubted = now;
    this.#hurry.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      await this.#wait(dueAt(this.#standing));
      for (let wait = FIRST_RETRY_MS; !signal.aborted; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
        // A super-peer may hear of what has changed later than this node.
        if ((await this.#round()) && !this.#isLacking()) break;
        // Not all members at once, after their super-peers were away.
        await this.#wait(Date.now() + wait - randomInt(wait / 2));
      }
      // What hurried it while the round ran is had.
      this.#hurry = new AbortController();
    }
  }

  /** @param until in milliseconds since 1970 */
  async #wait(until: number): Promise<void> {
    const { lookEvery = LOOK_MS } = this.#options;
    const signal = AbortSignal.any([this.#closed.signal, this.#hurry.signal]);
    for (let left = until - Date.now(); left > 0 && !signal.aborted; left = until - Date.now()) {
      await sleep(Math.min(left, lookEvery), undefined, { signal }).catch(() => {});
    }
    this.#hurry = new AbortController();
  }

  /** @returns whether one super-peer renewed */
  async #round(): Promise<boolean> {
    const before = this.#standing;
    const { epoch } = before.credential.value;
    const known = Math.max(epoch, this.#tier?.trust.trust().epoch ?? 0);
    try {
      const renewed = await renewAtAny(before, this.#options, this.#closed.signal, known);
      this.#problem = undefined;
      this.#revoked = false;
      this.#standing = renewed;
      // Before anybody acts on it: it may be the first that tells of an epoch.
      if (this.#tier) await holdDescriptor(this.#tier.store, renewed.descriptor);
      this.#options.onRenewed(renewed);
      // Runs under way have copies of their own.
      before.epochPsk.fill(0);
      return true;
    } catch (error) {
      // A super-peer may answer at the next round; status tells why none has.
      this.#problem = error instanceof Error ? error.message : String(error);
      if (saysRevoked(error)) {
        if (!this.#revoked) this.#options.log('revoked', { why: this.#problem });
        this.#revoked = true;
      }
      return false;
    }
  }

  #isLacking(): boolean {
    const { credential } = this.#standing;
    if (this.#tier && isBehind(credential, this.#tier.trust.trust())) return true;
    return this.#options.isLacking?.(this.#standing) ?? false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    await this.#running;
  }
}

/** When a renewal is due, in milliseconds since 1970. */
function dueAt({ credential: { value } }: Standing): number {
  const lifetime = value.notAfter - value.notBefore;
  const latest = value.notBefore + Math.floor((lifetime * 2) / 3);
  const due = latest - randomInt(Math.max(1, Math.floor(lifetime / 10)));
  return due * 1000;
}
