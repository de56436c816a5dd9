/** How much one peer may ask of this node: token buckets, one per peer, for a bounded number of peers. */

export interface AllowanceLimits {
  /** What a peer gets back each second. */
  readonly perSecond: number;
  /** What it may use at once. */
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  /** When `tokens` was true, in milliseconds since 1970. */
  at: number;
}

export class Allowance {
  readonly #limits: AllowanceLimits;
  readonly #clock: () => number;
  readonly #maxPeers: number;
  /** The one used last stands last. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(limits: AllowanceLimits, clock: () => number, maxPeers: number) {
    this.#limits = limits;
    this.#clock = clock;
    this.#maxPeers = maxPeers;
  }

  /** @returns whether `peer` may still use that much; what it may not, it is not charged for */
  take(peer: string, amount: number): boolean {
    const { perSecond, burst } = this.#limits;
    const now = this.#clock();
    const { tokens, at } = this.#buckets.get(peer) ?? { tokens: burst, at: now };
    // A clock that is set back gives nothing.
    const refilled = Math.min(burst, tokens + (Math.max(0, now - at) / 1000) * perSecond);
    const granted = amount <= refilled;
    this.#buckets.delete(peer);
    this.#buckets.set(peer, { tokens: granted ? refilled - amount : refilled, at: now });
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > this.#maxPeers && oldest !== undefined) this.#buckets.delete(oldest);
    return granted;
  }
}
