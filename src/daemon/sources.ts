/**
 * From which own address the kernel sends to each remote that there is a connection to: where that changes, packets of
 * the old connection go by another way, or from an address that is gone, and nothing answers.
 */
export class Sources {
  /** Undefined where there was no way. */
  readonly #known = new Map<string, string | undefined>();
  readonly #towards: (remote: string) => Promise<string | undefined>;

  /** @param towards the own address that the kernel sends from to a remote; undefined without a route */
  constructor(towards: (remote: string) => Promise<string | undefined>) {
    this.#towards = towards;
  }

  /** A connection to it begins: from where it goes now is how it was made. */
  async add(remote: string): Promise<void> {
    if (!this.#known.has(remote)) this.#known.set(remote, await this.#towards(remote));
  }

  /**
   * Compares with the time before, and remembers what is now.
   *
   * @param remotes all that there are connections to; others are forgotten
   * @returns those to which the way has changed
   */
  async look(remotes: readonly string[]): Promise<string[]> {
    const wanted = new Set(remotes);
    for (const each of this.#known.keys()) if (!wanted.has(each)) this.#known.delete(each);
    const changed: string[] = [];
    for (const remote of wanted) {
      const source = await this.#towards(remote);
      if (this.#known.has(remote) && this.#known.get(remote) !== source) changed.push(remote);
      this.#known.set(remote, source);
    }
    return changed;
  }
}
