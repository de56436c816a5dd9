/**
 * The life of the security associations with one peer, as a machine without clock, kernel or network.
 *
 * ```
 *           acquire                              established
 *   down ─────────────▶ wanting ───────────────────────────────────────▶ up
 *    ▲ ▲                 │   ▲ │                                        │  ▲
 *    │ │ failed, `tries` │   └─┘ failed: exchange after a pause         │  │ established:
 *    │ └─────────────────┘                      soft limit of time,     │  │ old outbound removed,
 *    │   reject-acquire                         bytes or packets,       │  │ old inbound after
 *    │                                          in doubt; after a pause ▼  │ `overlap`
 *    │                                          if that came at once  up, wanting
 *    │                                                  failed: again after a pause, the old pair goes on
 *    │
 *    ├── idle: outbound removed, peer told, inbound removed after `overlap` ──── up
 *    ├── the peer tells that its inbound SA goes: the same, without telling ──── up
 *    ├── gone (no answer to probes) or hard limit: both removed ──────────────── up
 *    ├── lost, outbound: not in use any more, exchange at once ───────────────── up
 *    ├── lost, inbound: peer told, exchange at once, the outbound one goes on ── any
 *    └── moved: SAs removed, exchange at once if there were any ──────────────── any
 * ```
 *
 * Make before break: an outbound SA is removed only when another is in use or the peer stops
 * receiving; an inbound SA outlives every moment at which the peer could still send under it. Where a
 * run broke and the peer may have a pair that this end has not, its inbound SA is kept (in doubt)
 * until another pair is established.
 *
 * Which of two exchanges counts when both peers start one is not decided here: see the exchange's
 * own rule. The newest established pair is the one in use.
 */
import type {
  Direction,
  LifecycleAction,
  LifecycleEvent,
  SaLimits,
  SaPair,
  SaUsage,
} from './events.ts';
import { reached, type SoftLimits, softLimits } from './limits.ts';
import { Liveness } from './liveness.ts';
import { DEFAULT_TIMING, retryDelay, type Timing } from './timing.ts';

export interface LifecycleOptions {
  /** From 0 to below 1, for jitter. */
  readonly random: () => number;
  readonly timing?: Partial<Timing>;
}

/** The peer uses the newest pair that it has; more of them only a peer that plays with us makes. */
const MAX_IN_DOUBT = 8;

export type LifecyclePhase = 'down' | 'wanting' | 'up' | 'closed';

type ExpiredEvent = Extract<LifecycleEvent, { readonly type: 'expired' }>;

interface Current extends SaPair {
  readonly soft: SoftLimits;
  readonly liveness: Liveness;
}

const remove = (spi: number, direction: Direction): LifecycleAction => ({
  do: 'remove',
  spi,
  direction,
});

export class PairLifecycle {
  readonly #timing: Timing;
  readonly #random: () => number;
  #current: Current | undefined;
  /** Inbound SAs whose pair is no more in use, and when they go. */
  readonly #retiring = new Map<number, number>();
  /** Inbound SAs of runs that the peer may have finished. */
  readonly #inDoubt = new Set<number>();
  #wanting = false;
  #failures = 0;
  /** When to ask for an exchange again. */
  #retryAt: number | undefined;
  #establishedAt = Number.NEGATIVE_INFINITY;
  /** Pairs in a row that reached a limit at once. */
  #brief = 0;
  #closed = false;

  constructor(options: LifecycleOptions) {
    this.#random = options.random;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
  }

  get phase(): LifecyclePhase {
    if (this.#closed) return 'closed';
    if (this.#current !== undefined) return 'up';
    return this.#wanting ? 'wanting' : 'down';
  }

  /** The pair in use. */
  get pair(): SaPair | undefined {
    return this.#current;
  }

  /** Whether new keys are wanted, at first or in the place of those in use. */
  get wanting(): boolean {
    return this.#wanting;
  }

  /** Inbound SAs that are kept without being in use: until when, or in doubt. */
  get kept(): { readonly inboundSpi: number; readonly until: number | 'in doubt' }[] {
    return [
      ...[...this.#retiring].map(([inboundSpi, until]) => ({ inboundSpi, until })),
      ...[...this.#inDoubt].map((inboundSpi) => ({ inboundSpi, until: 'in doubt' as const })),
    ];
  }

  /** When to send a `tick`, on the clock of `handle`; undefined when nothing is due ever. */
  wakeAt(): number | undefined {
    const { soft, liveness } = this.#current ?? {};
    const times = [...this.#retiring.values()];
    if (this.#retryAt !== undefined) times.push(this.#retryAt);
    if (soft !== undefined && !this.#wanting) times.push(soft.at);
    if (liveness !== undefined) times.push(liveness.wakeAt());
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /**
   * @param now milliseconds on a clock that never goes back
   * @returns what has to be done, in this order
   */
  handle(event: LifecycleEvent, now: number): LifecycleAction[] {
    if (this.#closed) return [];
    switch (event.type) {
      case 'acquire':
        return this.#want();
      case 'established':
        return this.#established(event.pair, event.limits, now);
      case 'failed':
        return this.#failed(now);
      case 'in-doubt':
        return this.#doubt(event.inboundSpi, now);
      case 'counters':
        return this.#counted(event.usage, now);
      case 'touched':
        this.#current?.liveness.touched();
        return [];
      case 'expired':
        return this.#expired(event, now);
      case 'lost':
        return this.#lost(event.spi, event.direction, now);
      case 'deleted':
        return event.outboundSpi === this.#current?.outboundSpi ? this.#retire(now) : [];
      case 'probed':
        return this.#probed(event.outboundSpi, event.known, now);
      case 'moved':
        return this.#moved();
      case 'tick':
        return this.#tick(now);
      case 'close':
        return this.#close();
    }
  }

  #want(): LifecycleAction[] {
    // While a pause after a failure lasts, the pause decides.
    if (this.#wanting && this.#retryAt !== undefined) return [];
    this.#wanting = true;
    return [{ do: 'exchange' }];
  }

  #satisfied(): void {
    this.#wanting = false;
    this.#failures = 0;
    this.#retryAt = undefined;
  }

  #established(pair: SaPair, limits: SaLimits, now: number): LifecycleAction[] {
    this.#satisfied();
    this.#establishedAt = now;
    const liveness = this.#current?.liveness;
    liveness?.rekeyed(now);
    const actions = this.#retire(now);
    for (const spi of this.#inDoubt) this.#retiring.set(spi, now + this.#timing.overlap);
    this.#inDoubt.clear();
    // An SPI that comes again belongs to the new pair.
    this.#retiring.delete(pair.inboundSpi);
    this.#current = {
      ...pair,
      soft: softLimits(limits, now, this.#timing, this.#random()),
      liveness: liveness ?? new Liveness(this.#timing, now),
    };
    return actions;
  }

  #doubt(inboundSpi: number, now: number): LifecycleAction[] {
    this.#inDoubt.add(inboundSpi);
    const [oldest] = this.#inDoubt;
    if (this.#inDoubt.size > MAX_IN_DOUBT && oldest !== undefined) {
      this.#inDoubt.delete(oldest);
      this.#retiring.set(oldest, now + this.#timing.overlap);
    }
    return this.#want();
  }

  /** Stops using the current pair: nothing is sent on it any more, and for a while still received. */
  #retire(now: number): LifecycleAction[] {
    const current = this.#current;
    if (current === undefined) return [];
    this.#current = undefined;
    this.#retiring.set(current.inboundSpi, now + this.#timing.overlap);
    return [remove(current.outboundSpi, 'out')];
  }

  /** Removes the current pair at once: nobody is there to send on it. */
  #drop(): LifecycleAction[] {
    const current = this.#current;
    if (current === undefined) return [];
    this.#current = undefined;
    return [remove(current.outboundSpi, 'out'), remove(current.inboundSpi, 'in')];
  }

  #failed(now: number): LifecycleAction[] {
    this.#wanting = true;
    this.#failures++;
    if (this.#current === undefined && this.#failures >= this.#timing.tries) {
      this.#satisfied();
      return [...this.#giveUpDoubts(now), { do: 'reject-acquire' }];
    }
    this.#retryAt = now + retryDelay(this.#timing, this.#failures, this.#random());
    return [];
  }

  #giveUpDoubts(now: number): LifecycleAction[] {
    const doubts = [...this.#inDoubt];
    this.#inDoubt.clear();
    for (const spi of doubts) this.#retiring.set(spi, now + this.#timing.overlap);
    return doubts.map((inboundSpi) => ({ do: 'notify-deleted', inboundSpi }));
  }

  #counted(usage: readonly SaUsage[], now: number): LifecycleAction[] {
    const current = this.#current;
    if (current === undefined) return [];
    current.liveness.observe(usage, now);
    const spent = usage.some(
      (sa) =>
        sa.spi === (sa.direction === 'in' ? current.inboundSpi : current.outboundSpi) &&
        reached(current.soft, sa),
    );
    return spent ? this.#spent(now) : [];
  }

  /** Each end chooses the SPIs of its inbound SAs, so one number may stand for two SAs. */
  #expired({ spi, direction, hard }: ExpiredEvent, now: number): LifecycleAction[] {
    if (hard && direction === 'in') {
      this.#retiring.delete(spi);
      this.#inDoubt.delete(spi);
    }
    const { inboundSpi, outboundSpi } = this.#current ?? {};
    if (spi !== (direction === 'in' ? inboundSpi : outboundSpi)) return [];
    const dropped = hard ? this.#drop() : [];
    return [...dropped, ...this.#spent(now)];
  }

  /**
   * A limit is reached. A peer may agree on limits that the first packets reach: then the pauses grow as after failures,
   * or this end would do nothing but agree on keys.
   */
  #spent(now: number): LifecycleAction[] {
    if (this.#wanting) return [];
    this.#brief = now < this.#establishedAt + this.#timing.brief ? this.#brief + 1 : 0;
    if (this.#brief === 0) return this.#want();
    this.#wanting = true;
    this.#retryAt = now + retryDelay(this.#timing, this.#brief, this.#random());
    return [];
  }

  /** The peer may go on sending under an inbound SA that is lost, unless it is told. */
  #lost(spi: number, direction: Direction, now: number): LifecycleAction[] {
    if (direction === 'out') {
      if (spi !== this.#current?.outboundSpi) return [];
      return [...this.#retire(now), ...this.#want()];
    }
    const told: LifecycleAction = { do: 'notify-deleted', inboundSpi: spi };
    if (this.#retiring.delete(spi)) return [told];
    const used = this.#inDoubt.delete(spi) || spi === this.#current?.inboundSpi;
    return used ? [told, ...this.#want()] : [];
  }

  #probed(outboundSpi: number, known: boolean, now: number): LifecycleAction[] {
    const current = this.#current;
    if (current?.outboundSpi !== outboundSpi) return [];
    current.liveness.alive();
    // The peer has started anew, or lost the pair: what waits to be sent needs other keys.
    return known ? [] : [...this.#retire(now), ...this.#want()];
  }

  #moved(): LifecycleAction[] {
    const needed = this.#current !== undefined || this.#wanting;
    this.#current = undefined;
    this.#retiring.clear();
    this.#inDoubt.clear();
    this.#satisfied();
    return needed ? [{ do: 'move' }, ...this.#want()] : [{ do: 'move' }];
  }

  #tick(now: number): LifecycleAction[] {
    const actions: LifecycleAction[] = [];
    for (const [spi, until] of this.#retiring) {
      if (now < until) continue;
      this.#retiring.delete(spi);
      actions.push(remove(spi, 'in'));
    }
    if (this.#retryAt !== undefined && now >= this.#retryAt) {
      this.#retryAt = undefined;
      actions.push(...this.#want());
    }
    const current = this.#current;
    if (current === undefined) return actions;
    if (now >= current.soft.at) actions.push(...this.#spent(now));
    return [...actions, ...this.#watch(current, now)];
  }

  #watch({ liveness, inboundSpi, outboundSpi }: Current, now: number): LifecycleAction[] {
    switch (liveness.due(now)) {
      case 'probe':
        return [{ do: 'probe', outboundSpi }];
      case 'gone':
        return this.#drop();
      case 'idle':
        this.#satisfied();
        return [
          { do: 'notify-deleted', inboundSpi },
          ...this.#retire(now),
          ...this.#giveUpDoubts(now),
        ];
      case 'nothing':
        return [];
    }
  }

  #close(): LifecycleAction[] {
    const { inboundSpi } = this.#current ?? {};
    const told: LifecycleAction[] =
      inboundSpi === undefined ? [] : [{ do: 'notify-deleted', inboundSpi }];
    const rest = [...this.#retiring.keys(), ...this.#inDoubt];
    const actions = [...told, ...this.#drop(), ...rest.map((spi) => remove(spi, 'in'))];
    this.#closed = true;
    this.#retiring.clear();
    this.#inDoubt.clear();
    this.#satisfied();
    return actions;
  }
}
