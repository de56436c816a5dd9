/**
 * Ends idle connections once there are many: lookups lead to new nodes again and again, and in a large
 * service each member would end up connected to most of the others.
 *
 * ```
 *  in use ── no stream for 1 min ──▶ idle ── more than 192 of them ──▶ the longest idle are closed,
 *    ▲                                │                                 until 160 are left
 *    └──────────── a stream ──────────┘
 * ```
 *
 * Whoever is closed here is dialled again when it is needed: its addresses stay known. The numbers are those
 * that go-libp2p's connection manager has by default.
 */
import type { Connection } from '@libp2p/interface';
import { Sweep } from './sweep.ts';

export interface SurplusLimits {
  /** Idle connections that a host keeps at most. */
  readonly high: number;
  /** Those that are left once there were more. */
  readonly low: number;
  /** Milliseconds without a stream after which a connection counts as idle. */
  readonly idle: number;
}

const LIMITS: SurplusLimits = { high: 192, low: 160, idle: 60_000 };
/** Milliseconds for what is under way on a connection to end, before it is cut. */
const CLOSE_LIMIT = 5_000;

/** Contacts are spared, in use or not. */
export class Surplus extends Sweep {
  readonly #limits: SurplusLimits;
  /** When each was in use last, by the monotonic clock. */
  readonly #used = new WeakMap<Connection, number>();

  /** @param connections gives all that are open */
  constructor(connections: () => Connection[], limits: Partial<SurplusLimits> = {}) {
    const all = { ...LIMITS, ...limits };
    super(connections, all.idle / 3);
    this.#limits = all;
  }

  /** A stream opens on this connection. @param now milliseconds of the monotonic clock */
  used(connection: Connection, now = performance.now()): void {
    this.#used.set(connection, now);
  }

  async look(now: number): Promise<void> {
    const idle: { readonly connection: Connection; readonly since: number }[] = [];
    for (const connection of this.connections()) {
      const since = this.#used.get(connection);
      if (since === undefined || connection.streams.length > 0) this.used(connection, now);
      else if (now - since < this.#limits.idle || this.isSpared(connection)) continue;
      else idle.push({ connection, since });
    }
    const { high, low } = this.#limits;
    if (idle.length <= high) return;
    idle.sort((a, b) => a.since - b.since);
    const surplus = idle.slice(0, idle.length - low);
    await Promise.all(surplus.map(({ connection }) => close(connection)));
  }
}

async function close(connection: Connection): Promise<void> {
  try {
    await connection.close({ signal: AbortSignal.timeout(CLOSE_LIMIT) });
  } catch (error) {
    connection.abort(error instanceof Error ? error : new Error(String(error)));
  }
}
