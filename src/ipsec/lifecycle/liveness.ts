import type { SaUsage } from './events.ts';
import type { Timing } from './timing.ts';

/**
 * Whether the peer is there, from what the kernel counts; idle pairs cost nothing.
 *
 * ```
 *   heard or idle ──sent, nothing heard for `silence`──▶ asking ──no answer, `probes` times──▶ gone
 *        ▲                                                 │
 *        └──────────── heard, or an answer ────────────────┘
 * ```
 *
 * Packets that this end sends to look after the path are no use of the pair, and wait for no answer; nor are those that
 * both ends exchange to that end just after a rekey. So a pair that nobody uses ends, however often it is rekeyed.
 *
 * An answer proves the peer, not the path of ESP: a peer that answers and is never heard is asked
 * again after every `silence`, and shows in the counters.
 */
export class Liveness {
  readonly #timing: Timing;
  readonly #seen = new Map<string, bigint>();
  #activeAt: number;
  /** Until then packets may be the checks after a rekey. */
  #settledAt = 0;
  /** Own packets that no counter has shown yet: sent since the last reading, and before that. */
  #own = 0n;
  #ownBefore = 0n;
  /** When we first sent after the peer was last heard. */
  #unansweredSince: number | undefined;
  #asking: { readonly times: number; readonly until: number } | undefined;

  constructor(timing: Timing, now: number) {
    this.#timing = timing;
    this.#activeAt = now;
  }

  /** Takes the counters of all SAs of the peer. */
  observe(usage: readonly SaUsage[], now: number): void {
    const grown = { in: 0n, out: 0n };
    for (const { spi, direction, packets } of usage) {
      const more = packets - (this.#seen.get(`${direction} ${spi}`) ?? 0n);
      if (more > 0n) grown[direction] += more;
    }
    this.#seen.clear();
    for (const { spi, direction, packets } of usage) this.#seen.set(`${direction} ${spi}`, packets);
    const sent = this.#withoutOwn(grown.out) > 0n;
    const heard = grown.in > 0n;
    if ((sent || heard) && now >= this.#settledAt) this.#activeAt = now;
    if (heard) this.alive();
    else if (sent) this.#unansweredSince ??= now;
  }

  /** One that has not left by the second reading was lost before. */
  #withoutOwn(sent: bigint): bigint {
    const own = this.#own + this.#ownBefore;
    const left = own > sent ? own - sent : 0n;
    this.#ownBefore = left < this.#own ? left : this.#own;
    this.#own = 0n;
    return own > sent ? 0n : sent - own;
  }

  /** This end sends a packet that nobody asked for. */
  touched(): void {
    this.#own++;
  }

  /** Other keys have taken the place of those in use. */
  rekeyed(now: number): void {
    this.alive();
    this.#settledAt = now + Math.min(this.#timing.settle, this.#timing.idle / 3);
  }

  /** The peer was heard, or has answered. */
  alive(): void {
    this.#unansweredSince = undefined;
    this.#asking = undefined;
  }

  /** What has to be done by now. */
  due(now: number): 'nothing' | 'probe' | 'gone' | 'idle' {
    if (this.#asking !== undefined) {
      if (now < this.#asking.until) return 'nothing';
      if (this.#asking.times >= this.#timing.probes) return 'gone';
      return this.#ask(this.#asking.times + 1, now);
    }
    if (now >= this.#silentAt()) return this.#ask(1, now);
    return now >= this.#activeAt + this.#timing.idle ? 'idle' : 'nothing';
  }

  /** When `due` may have something else to say. */
  wakeAt(): number {
    return this.#asking?.until ?? Math.min(this.#silentAt(), this.#activeAt + this.#timing.idle);
  }

  #silentAt(): number {
    return (this.#unansweredSince ?? Number.POSITIVE_INFINITY) + this.#timing.silence;
  }

  #ask(times: number, now: number): 'probe' {
    this.#asking = { times, until: now + this.#timing.probeTimeout };
    return 'probe';
  }
}
