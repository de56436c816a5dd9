/**
 * Simultaneous exchanges: both peers of a pair may start one at the same moment.
 *
 * The initiation of the peer with the lower PeerID wins: it refuses the other's M1; the other gives
 * its own run up when it sees the winner's M1, and answers. One run at a time, so that one pair of
 * SAs comes out of it.
 *
 * ```
 *                 want / start                     m1 / respond
 *          ┌───────────────────────── idle ─────────────────────────┐
 *          ▼                                                        ▼
 *       calling ──────────────── m1: abort own run, respond ──▶ responding
 *          │ opened                  ▲    ▲                         │
 *          ▼                         │    │                         │
 *     initiating ────── over ────────┘    └──────── over ───────────┘
 *      │  │    ▲                                                 ▲  ▲   │
 *      │  │    │ expired / start        m1 / respond             │  │   │
 *      │  │    └───────────────── deferring ─────────────────────┘  │   │
 *      │  └── refused ───────────────▶                              │   │
 *      │ m1, this end wins: refuse (stays)                          │   │
 *      └─ m1, the peer wins: abort own run, respond ────────────────┘   │
 *                           m1: abort that run (the peer began anew), respond
 * ```
 *
 * Who has not reached the peer yet has nothing to win: the peer's stream is there, its own may never be.
 *
 * A run has a number; news of a run that was given up is ignored. A wish is kept until a run succeeds,
 * whoever began it.
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { compare } from 'uint8arrays/compare';

export type PairPhase = 'idle' | 'calling' | 'initiating' | 'responding' | 'deferring';

/** What the daemon has to do: `start` dials, then tells {@link PairState.opened}. `abort` is the number of a run to be given up first. */
export type PairDecision =
  | { readonly do: 'start'; readonly run: number }
  | { readonly do: 'respond'; readonly run: number; readonly abort: number | undefined }
  | { readonly do: 'refuse' }
  | { readonly do: 'nothing' };

const NOTHING: PairDecision = { do: 'nothing' };

/** Whether the first of two peers wins when both initiate. */
export const winsCollision = (local: Ed25519PeerId, remote: Ed25519PeerId): boolean =>
  compare(local.toMultihash().bytes, remote.toMultihash().bytes) < 0;

export class PairState {
  readonly #wins: boolean;
  #phase: PairPhase = 'idle';
  #run = 0;
  #wanted = false;

  constructor(local: Ed25519PeerId, remote: Ed25519PeerId) {
    this.#wins = winsCollision(local, remote);
  }

  get phase(): PairPhase {
    return this.#phase;
  }

  /** Whether this end waits for keys, from a run of its own or of the peer's. */
  get wanted(): boolean {
    return this.#wanted;
  }

  /** This end wants new keys: a packet waits (ACQUIRE), or a rekey is due. */
  want(): PairDecision {
    this.#wanted = true;
    // Any run under way, when it succeeds, ends in new keys for both.
    return this.#phase === 'idle' ? this.#start() : NOTHING;
  }

  /** The run's stream is open, and M1 goes out. */
  opened(run: number): void {
    if (run === this.#run && this.#phase === 'calling') this.#phase = 'initiating';
  }

  /** The peer's M1 has come. */
  m1(): PairDecision {
    if (this.#phase === 'initiating' && this.#wins) return { do: 'refuse' };
    const busy = this.#phase !== 'idle' && this.#phase !== 'deferring';
    const abort = busy ? this.#run : undefined;
    this.#phase = 'responding';
    this.#run++;
    return { do: 'respond', run: this.#run, abort };
  }

  /**
   * A run has ended at this end.
   *
   * @returns whether keys are still wanted: the caller then calls `want` again, after a pause
   */
  over(run: number, succeeded: boolean): boolean {
    if (run !== this.#run || this.#phase === 'deferring') return false;
    this.#phase = 'idle';
    if (succeeded) this.#wanted = false;
    return this.#wanted;
  }

  /**
   * The peer refused a run of this end because its own goes on: its M1 is on the way. Called in place
   * of `over`; the daemon calls `expired` after the time limit of an exchange.
   */
  refused(run: number): void {
    if (run === this.#run && this.#phase === 'initiating') this.#phase = 'deferring';
  }

  /** No M1 came after a refusal: the peer's run must have failed early. */
  expired(run: number): PairDecision {
    if (run !== this.#run || this.#phase !== 'deferring') return NOTHING;
    return this.#start();
  }

  #start(): PairDecision {
    this.#phase = 'calling';
    this.#run++;
    return { do: 'start', run: this.#run };
  }
}
