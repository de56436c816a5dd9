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
 * An answer proves the peer, not the path of ESP: a peer that answers and is never heard is asked
 * again after every `silence`, and shows in the counters.
 */
export class Liveness {
  readonly #timing: Timing;
  readonly #seen = new Map<string, bigint>();
  #activeAt: number;
  /** When we first sent after the peer was last heard. */
  #unansweredSince: number | undefined;
  #asking: { readonly times: number; readonly until: number } | undefined;

  constructor(timing: Timing, now: number) {
    this.#timing = timing;
    this.#activeAt = now;
  }

  /** Takes the counters of all SAs of the peer. */
  observe(usage: readonly SaUsage[], now: number): void {
    let [sent, heard] = [false, false];
    for (const { spi, direction, packets } of usage) {
      const key = `${direction} ${spi}`;
      if (packets > (this.#seen.get(key) ?? 0n)) {
        if (direction === 'in') heard = true;
        else sent = true;
      }
    }
    this.#seen.clear();
    for (const { spi, direction, packets } of usage) this.#seen.set(`${direction} ${spi}`, packets);
    if (sent || heard) this.#activeAt = now;
    if (heard) this.alive();
    else if (sent) this.#unansweredSince ??= now;
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
