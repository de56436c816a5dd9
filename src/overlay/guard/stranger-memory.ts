/**
 * What those who have proved nothing may leave in this node's memory, in all.
 *
 * Each connection is held to its own share by its guard. When all together hold too much, the one that
 * holds most ends: a node that joins holds a hundredth of what a flood holds.
 */
const MAX_TOTAL = 32 * 1024 * 1024;

export interface StrangerConnection {
  /** Called when this connection is the one to end. */
  end(): void;
}

export class StrangerMemory {
  readonly #max: number;
  readonly #held = new Map<StrangerConnection, number>();
  #total = 0;

  /** @param max bytes of all connections together */
  constructor(max = MAX_TOTAL) {
    this.#max = max;
  }

  /** Bytes. */
  get total(): number {
    return this.#total;
  }

  /** @param bytes that `connection` holds now; 0 forgets it */
  set(connection: StrangerConnection, bytes: number): void {
    this.#total += bytes - (this.#held.get(connection) ?? 0);
    if (bytes === 0) this.#held.delete(connection);
    else this.#held.set(connection, bytes);
    while (this.#total > this.#max) {
      const [most] = [...this.#held].reduce((a, b) => (b[1] > a[1] ? b : a));
      this.set(most, 0);
      most.end();
    }
  }
}
