/**
 * Keeps what the kernel holds as it has to be: hears that something may have changed, compares, repairs.
 *
 * ```
 *  event ──▶ poke ──▶ all parts in their order, one run at a time ──▶ nothing amiss: quiet
 *                       │ repaired: told               ▲ 50 ms after the run before
 *                       └ fails twice, or is undone again and again ──▶ unsound: no peers ──▶ 10 s of quiet: sound
 * ```
 *
 * An own repair is heard of too: the run that follows finds nothing amiss. Without an event a run comes every 10 s,
 * since some changes the kernel does not tell, and some it has no room to tell.
 */

/** Something in the kernel that has to be there. */
export interface Repairable {
  /** @returns what was missing and is back, in words; none if nothing was */
  repair(): Promise<readonly string[]>;
}

export interface ReconcilerOptions {
  /** In the order in which they are repaired: what refuses before what leads on. More may come. */
  readonly parts: readonly Repairable[];
  readonly onRepaired: (what: readonly string[]) => void;
  /** The kernel is not as it has to be, and for how long is not known. */
  readonly onUnsound: (error: Error) => void;
  /** It is again. */
  readonly onSound: () => void;
  /** Milliseconds on a monotonic clock; that of the process if left out. */
  readonly now?: () => number;
}

/** Milliseconds between the end of a run and the start of the next. */
const PAUSE_MS = 50;
/** Milliseconds before what failed is tried again. */
const RETRY_MS = 300;
/** What fails so often in a row is no accident, as a run beside a change is. */
const FAILURES = 2;
/** Milliseconds between runs without an event. */
const PERIOD_MS = 10_000;
/** So many repairs within so many milliseconds are those of a fight. */
const FIGHT = { repairs: 6, withinMs: 10_000 };

export class Reconciler implements AsyncDisposable {
  readonly #options: ReconcilerOptions;
  readonly #now: () => number;
  readonly #period: NodeJS.Timeout;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #unsound = false;
  #failures = 0;
  #nextAt = Number.NEGATIVE_INFINITY;
  /** When something was repaired, oldest first. */
  #repairs: readonly number[] = [];

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#period = setInterval(() => this.poke(), PERIOD_MS).unref();
  }

  /** Whether the kernel is as it has to be, as far as is known. */
  get isSound(): boolean {
    return !this.#unsound;
  }

  /** Something may have changed. */
  poke(): void {
    if (this.#closed) return;
    this.#again = true;
    if (this.#running !== undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#running = this.#run().finally(() => {
          this.#running = undefined;
          if (this.#again) this.poke();
        });
      },
      Math.max(0, this.#nextAt - this.#now()),
    );
  }

  async #run(): Promise<void> {
    this.#again = false;
    const { parts, onRepaired } = this.#options;
    const repaired: string[] = [];
    let failure: unknown;
    for (const part of parts) {
      try {
        repaired.push(...(await part.repair()));
      } catch (error) {
        failure ??= error; // what comes after it may refuse too, and refusals are not to wait
      }
    }
    if (this.#closed) return;
    const now = this.#now();
    this.#nextAt = now + (failure === undefined ? PAUSE_MS : RETRY_MS);
    const recent = this.#repairs.filter((at) => at > now - FIGHT.withinMs);
    this.#repairs = repaired.length > 0 ? [...recent, now] : recent;
    if (repaired.length > 0) onRepaired(repaired);
    this.#judge(failure);
  }

  #judge(failure: unknown): void {
    const { onUnsound, onSound } = this.#options;
    const fought = this.#repairs.length >= FIGHT.repairs;
    this.#failures = failure === undefined ? 0 : this.#failures + 1;
    if (failure !== undefined || fought) {
      this.#again = true;
      if (this.#unsound || (this.#failures < FAILURES && !fought)) return;
      this.#unsound = true;
      onUnsound(failure instanceof Error ? failure : new Error(failure ? String(failure) : FOUGHT));
    } else if (this.#unsound) {
      if (this.#repairs.length > 0) {
        this.#again = true; // looks again until it has been quiet for long enough
        return;
      }
      this.#unsound = false;
      onSound();
    }
  }

  /** Waits for what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#period);
    clearTimeout(this.#timer);
    await this.#running;
  }
}

const FOUGHT =
  'another program undoes the repair of interface, routes, rules, nftables or IPsec again and again';
