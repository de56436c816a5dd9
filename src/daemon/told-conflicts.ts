/** Conflicts between members that last: each is told once, and again only after it had ended. */
export class ToldConflicts<T extends object> {
  readonly #tell: (conflict: T) => void;
  readonly #told = new Set<string>();
  #all: readonly T[] = [];

  constructor(tell: (conflict: T) => void) {
    this.#tell = tell;
  }

  get all(): readonly T[] {
    return this.#all;
  }

  /** They are these now. */
  follow(conflicts: readonly T[]): void {
    this.#all = conflicts;
    const names = new Map(conflicts.map((each) => [Object.values(each).join(' '), each]));
    for (const name of this.#told) if (!names.has(name)) this.#told.delete(name);
    for (const [name, conflict] of names) {
      if (this.#told.has(name)) continue;
      this.#told.add(name);
      this.#tell(conflict);
    }
  }
}
