/**
 * A limited number of places for those who have proved nothing. Nobody keeps a newcomer out: when all
 * places are taken, one is taken back from whoever has most.
 *
 * ```
 *                 all ─┬─ /16 ─┬─ /24 ─┬─ host ─┬─ place, the longest silent first
 *                      │  12   │   9   │    7   │
 *                      │       └─ /24  └─ host  └─ …
 *                      └─ /16      3        2
 *                          2
 * ```
 *
 * From the top, the step goes to the largest group, the newcomer counted. So with hostile hosts in n sites
 * each honest site has at least the n-th part of the places, whatever the hostile ones do.
 *
 * A newcomer of the very host that has most takes at most the place of a silent one of its own: many nodes
 * behind one NAT address that start at once do not throw each other out in the midst of a handshake.
 *
 * Pure: time comes from outside.
 */
import type { Origin } from './origin.ts';

export interface PlacesOptions {
  /** Places in all. */
  readonly capacity: number;
  /** Places of one host, and of one site; without limit when absent. */
  readonly perHost?: number;
  readonly perSite?: number;
  /** Milliseconds without progress after which a place may go to another of the same host. Default: never. */
  readonly silent?: number;
  /** Milliseconds; never set back. */
  readonly clock: () => number;
}

/** A place that is held. */
export interface Place {
  /** Its holder goes on: it is now the last of its host to be replaced. */
  progress(): void;
  /** Gives the place back. May be called again, and after the place was taken back. */
  leave(): void;
}

interface Holder {
  readonly origin: Origin;
  readonly path: readonly Group[];
  readonly evict: () => void;
  /** Of the last progress. */
  at: number;
}

/** A host, a site or everybody. */
class Group {
  readonly name: string;
  count = 0;
  readonly children = new Map<string, Group>();
  /** Of a host: the longest silent first. */
  readonly holders = new Set<Holder>();

  constructor(name: string) {
    this.name = name;
  }

  child(name: string): Group {
    const child = this.children.get(name) ?? new Group(name);
    this.children.set(name, child);
    return child;
  }
}

export class Places {
  readonly #options: PlacesOptions;
  readonly #all = new Group('all');

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  /** Places that are held. */
  get size(): number {
    return this.#all.count;
  }

  /**
   * @param evict called at most once, when the place is taken back; it is free by then
   * @returns undefined when there is none: the newcomer's own host or site has more than others
   */
  enter(origin: Origin, evict: () => void): Place | undefined {
    const newcomer = this.#add(origin, evict);
    const victim = this.#full(newcomer);
    if (victim === newcomer) {
      this.#remove(newcomer);
      return undefined;
    }
    if (victim !== undefined) {
      this.#remove(victim);
      victim.evict();
    }
    return {
      progress: () => this.#progress(newcomer),
      leave: () => this.#remove(newcomer),
    };
  }

  /** @returns who must go for `newcomer`; itself when it gets no place */
  #full(newcomer: Holder): Holder | undefined {
    const { capacity, perHost = capacity, perSite = capacity } = this.#options;
    const { path, origin } = newcomer;
    const host = path.at(-1);
    const site = path.find(({ name }) => name === origin.site);
    if (host !== undefined && host.count > perHost) return this.#victim(newcomer, host);
    if (site !== undefined && site.count > perSite) return this.#victim(newcomer, site);
    if (this.#all.count > capacity) return this.#victim(newcomer, this.#all);
    return undefined;
  }

  #victim(newcomer: Holder, top: Group): Holder {
    let group = top;
    while (group.children.size > 0) group = largest(group, newcomer);
    const [first] = group.holders;
    if (first === undefined) return newcomer;
    const own = newcomer.path.includes(group);
    const { silent = Number.POSITIVE_INFINITY, clock } = this.#options;
    return own && clock() - first.at < silent ? newcomer : first;
  }

  #add(origin: Origin, evict: () => void): Holder {
    const path = [this.#all];
    for (const step of origin.steps) path.push((path.at(-1) ?? this.#all).child(step));
    const holder = { origin, path, evict, at: this.#options.clock() };
    for (const each of path) each.count++;
    path.at(-1)?.holders.add(holder);
    return holder;
  }

  #remove(holder: Holder): void {
    const { path } = holder;
    if (!path.at(-1)?.holders.delete(holder)) return;
    for (const [i, group] of path.entries()) {
      group.count--;
      if (group.count === 0) path[i - 1]?.children.delete(group.name);
    }
  }

  #progress(holder: Holder): void {
    const holders = holder.path.at(-1)?.holders;
    if (!holders?.delete(holder)) return;
    holder.at = this.#options.clock();
    holders.add(holder);
  }
}

/** @returns the largest part of a group; of equals one that is not the newcomer's, and the oldest */
function largest(group: Group, newcomer: Holder): Group {
  let found: Group | undefined;
  for (const child of group.children.values()) {
    const larger = found === undefined || child.count > found.count;
    const equal = found !== undefined && child.count === found.count;
    if (larger || (equal && found !== undefined && newcomer.path.includes(found))) found = child;
  }
  return found ?? group;
}
