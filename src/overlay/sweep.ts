/** Looks at all connections of a host again and again, for some that are to end. */
import type { Connection } from '@libp2p/interface';

/** @returns whether a connection is not to be ended */
export type Spares = (connection: Connection) => boolean;

export abstract class Sweep {
  /** Gives all that are open. */
  protected readonly connections: () => Connection[];
  readonly #interval: number;
  readonly #spares = new Set<Spares>();
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param connections gives all that are open
   * @param interval milliseconds between two looks
   */
  constructor(connections: () => Connection[], interval: number) {
    this.connections = connections;
    this.#interval = interval;
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(performance.now()), this.#interval);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** @returns how to stop asking `spares` */
  except(spares: Spares): () => void {
    this.#spares.add(spares);
    return () => this.#spares.delete(spares);
  }

  /** Ends what is to end. Runs by itself. @param now milliseconds of the monotonic clock */
  abstract look(now: number): void | Promise<void>;

  /** @returns whether a connection is not to be ended */
  isSpared(connection: Connection): boolean {
    return [...this.#spares].some((spares) => spares(connection));
  }
}
