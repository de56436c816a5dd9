/**
 * The gate before one peer, as the kernel has it (what it is: `policies.ts`):
 *
 * ```
 *  closed ──an SA to send by──▶ open ──1 s──▶ away
 *    ▲                           │             │
 *    └─────────no SA left────────┴─────────────┘
 * ```
 *
 * An open gate hands on what waits in it, at the kernel's next tick. After that it would only cost: for each packet
 * whose way is looked up (forwarded ones, those of sockets without a connection) the kernel makes an empty bundle and
 * throws it away. Measured in the lab: a tenth of what it takes to send a small datagram through the SA.
 */

/** Milliseconds; many ticks of any kernel. */
const DRAIN = 1_000;

export type GatePhase = 'closed' | 'open' | 'away';

export class GateState {
  #phase: GatePhase = 'closed';
  #timer: NodeJS.Timeout | undefined;

  get phase(): GatePhase {
    return this.#phase;
  }

  /** Whether it is open and nothing waits in it any more. */
  get drained(): boolean {
    return this.#phase === 'open' && this.#timer === undefined;
  }

  /** @param onDrained not called if it is closed before */
  opened(onDrained: () => void): void {
    this.#phase = 'open';
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      onDrained();
    }, DRAIN).unref();
  }

  takenAway(): void {
    this.#phase = 'away';
  }

  /** Also when the peer is removed. */
  closed(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#phase = 'closed';
  }
}
