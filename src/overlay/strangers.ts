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

export interface StrangerLimits {
  /** Milliseconds without any stream. */
  readonly idle: number;
  /** Milliseconds in all, whatever it does. */
  readonly most: number;
}

const LIMITS: StrangerLimits = { idle: 30_000, most: 300_000 };

/** @returns whether a connection belongs to somebody who has shown a credential that holds */
export type Knows = (connection: Connection) => boolean;

export class Strangers {
  readonly #limits: StrangerLimits;
  readonly #connections: () => Connection[];
  readonly #known = new Set<Knows>();
  /** Since when, by the monotonic clock, a connection is a stranger's, and one without a stream. */
  readonly #since = new WeakMap<Connection, { stranger: number; idle: number }>();
  #timer: NodeJS.Timeout | undefined;

  /** @param connections gives all that are open */
  constructor(connections: () => Connection[], limits: Partial<StrangerLimits> = {}) {
    this.#connections = connections;
    this.#limits = { ...LIMITS, ...limits };
  }

  start(): void {
    this.#timer = setInterval(() => this.#look(), this.#limits.idle / 3);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** @returns how to stop asking `knows` */
  except(knows: Knows): () => void {
    this.#known.add(knows);
    return () => this.#known.delete(knows);
  }

  #look(): void {
    const now = performance.now();
    for (const connection of this.#connections()) {
      if (connection.direction !== 'inbound') continue;
      if ([...this.#known].some((knows) => knows(connection))) {
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
