/**
 * Ends connections that came from outside and that nobody has a use for: a node that has finished
 * Noise and says nothing more must not keep its place for ever.
 *
 * ```
 *  opened ──▶ stranger ── 30 s without a stream, or 5 min in all ──▶ closed
 *              │    ▲
 *  passed a gate    no longer passes any
 *              ▼    │
 *             known: stays
 * ```
 *
 * Admission and publishing are streams with time limits of their own, all shorter than the 5 minutes.
 */
import type { Connection } from '@libp2p/interface';
import { Sweep } from './sweep.ts';

export interface StrangerLimits {
  /** Milliseconds without any stream. */
  readonly idle: number;
  /** Milliseconds in all, whatever it does. */
  readonly most: number;
}

const LIMITS: StrangerLimits = { idle: 30_000, most: 300_000 };

/** Those who have shown a credential that holds are spared. */
export class Strangers extends Sweep {
  readonly #limits: StrangerLimits;
  /** Since when, by the monotonic clock, a connection is a stranger's, and one without a stream. */
  readonly #since = new WeakMap<Connection, { stranger: number; idle: number }>();

  /** @param connections gives all that are open */
  constructor(connections: () => Connection[], limits: Partial<StrangerLimits> = {}) {
    const all = { ...LIMITS, ...limits };
    super(connections, all.idle / 3);
    this.#limits = all;
  }

  look(now: number): void {
    for (const connection of this.connections()) {
      if (connection.direction !== 'inbound') continue;
      if (this.isSpared(connection)) {
        this.#since.delete(connection);
        continue;
      }
      const since = this.#since.get(connection) ?? { stranger: now, idle: now };
      this.#since.set(connection, since);
      if (connection.streams.length > 0) since.idle = now;
      const { idle, most } = this.#limits;
      if (now - since.idle < idle && now - since.stranger < most) continue;
      connection.abort(new Error('nobody here has a use for this connection'));
    }
  }
}
