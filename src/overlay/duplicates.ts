/**
 * One node key at two places: a machine image that was cloned after its first start, or a state directory
 * that was copied.
 *
 * ```
 *  at one super-peer     attach from X ─ Y ─ X ─ Y      in turns, each ends the other's attachment
 *  at two super-peers    X beats here, and the newest attachment is at another super-peer, again and again
 * ```
 *
 * A node that moves changes its place once and never beats at the old one. A node that restarts does not
 * come back as it was before.
 */

/** Milliseconds in which attachments from two places in turns count together. */
const TURNS_MS = 60_000;
/** Changes of place in that time that no single node makes. */
const TURNS = 3;
/** Beats in a row while the newest attachment is elsewhere: 30 s and more. */
const BEATS = 3;

interface Seen {
  /** Places of the newest attachments, and when they began; the last `TURNS` and one. */
  turns: { readonly place: string; readonly at: number }[];
  /** Beats since the newest attachment was elsewhere. */
  beats: number;
  /** Whether it is attached here. */
  here: boolean;
}

/** What one super-peer sees of the nodes that attach to it. */
export class Duplicates {
  readonly #clock: () => number;
  /** By node; as many as are attached, or were in the last minute. */
  readonly #seen = new Map<string, Seen>();

  /** @param clock milliseconds, monotonic */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
  }

  /**
   * A node attaches here.
   *
   * @param place where it is, as far as can be told
   * @returns the other place, when two machines attach in turns
   */
  attached(node: string, place: string): string | undefined {
    const seen = this.#of(node);
    const last = seen.turns.at(-1);
    if (last?.place !== place) seen.turns.push({ place, at: this.#clock() });
    seen.turns = seen.turns.slice(-TURNS - 1);
    seen.beats = 0;
    seen.here = true;
    const [first] = seen.turns;
    const places = new Set(seen.turns.map((turn) => turn.place));
    const inTurns = seen.turns.length > TURNS && places.size === 2;
    return inTurns && first && this.#clock() - first.at < TURNS_MS ? last?.place : undefined;
  }

  /**
   * A node that is attached here was heard.
   *
   * @param elsewhere the super-peer of its newest attachment, if that is another one
   * @returns whether two machines are attached
   */
  heard(node: string, elsewhere: boolean): boolean {
    const seen = this.#of(node);
    seen.beats = elsewhere ? seen.beats + 1 : 0;
    return seen.beats >= BEATS;
  }

  /** A node is attached here no more. Its turns count for a minute yet. */
  left(node: string): void {
    this.#of(node).here = false;
    const limit = this.#clock() - TURNS_MS;
    for (const [name, { here, turns }] of this.#seen) {
      if (!here && (turns.at(-1)?.at ?? 0) < limit) this.#seen.delete(name);
    }
  }

  #of(node: string): Seen {
    const seen = this.#seen.get(node) ?? { turns: [], beats: 0, here: true };
    this.#seen.set(node, seen);
    return seen;
  }
}
