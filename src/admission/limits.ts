/**
 * How much of a super-peer strangers may use.
 *
 * ```
 *                      per host       per site       in total
 *                      (IPv4, /64)    (/24, /48)
 *   streams a second   50, burst 400  100, 800       1000, 2000     then: busy
 *   half-open          256            512            2048           then: the largest site loses one
 *   of these in SRP                                  1024           then: the largest site loses one
 * ```
 *
 * Half-open places are shared out by `shares/places.ts`: a newcomer takes one from the largest site. While all
 * together are above their rate, a site that has had few entries lately still gets in. So hostile hosts in any
 * 64 sites keep no honest site out, and no member from renewing.
 *
 * A site of 200 VMs behind one NAT address starts at once and is served; a flood from one host is
 * held at that host's share. Half-open means: not proven, whatever it waits for. Renewals use no
 * SRP and so find room while SRP is full.
 *
 * Wrong guesses slow down who makes them, per service: by waiting, and by a puzzle to solve. Neither
 * refuses anybody, so that nobody can lock a service's own VMs out by guessing badly on purpose:
 * from elsewhere they notice nothing but, under many guesses, a puzzle of some milliseconds, and
 * behind the same NAT address they get in later. Guesses are forgotten by half each minute.
 *
 * Pure: time comes from outside, and every map is bounded.
 */
import type { Origin } from '../shares/origin.ts';
import { type Place, Places } from '../shares/places.ts';

export interface Rate {
  /** Per second. */
  readonly rate: number;
  readonly burst: number;
}

export interface AdmissionLimits {
  /** Milliseconds for a stream to say what it wants, and for a challenge to be answered. */
  readonly unproven: number;
  /** Milliseconds from the proof to the end, the membership record included. */
  readonly proven: number;
  /** Milliseconds to solve a puzzle. */
  readonly puzzle: number;
  readonly halfOpenPerPeer: number;
  readonly halfOpenPerHost: number;
  readonly halfOpenPerSite: number;
  readonly halfOpen: number;
  /** SRP runs under way, puzzles and waiting included. */
  readonly srp: number;
  readonly ratePerHost: Rate;
  readonly ratePerSite: Rate;
  readonly rate: Rate;
}

export const DEFAULT_LIMITS: AdmissionLimits = {
  unproven: 10_000,
  proven: 30_000,
  puzzle: 30_000,
  halfOpenPerPeer: 2,
  halfOpenPerHost: 256,
  halfOpenPerSite: 512,
  halfOpen: 2048,
  srp: 1024,
  ratePerHost: { rate: 50, burst: 400 },
  ratePerSite: { rate: 100, burst: 800 },
  rate: { rate: 1000, burst: 2000 },
};

/** Entries for sites that have had few lately, while all together are above their rate. */
const QUIET_RATE: Rate = { rate: 500, burst: 1000 };
/** Entries of a site, fading by half each minute, up to which it counts as quiet. */
const QUIET_ENTRIES = 32;

/** Hosts, sites and services remembered at most; the longest unseen are forgotten first. */
const REMEMBERED = 10_000;

/** A map that forgets the entry longest not set. */
class Recent<V> {
  readonly #entries = new Map<string, V>();

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size > REMEMBERED) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
  }
}

/** Token buckets (RFC 2697 without colours), one a key. */
class Buckets {
  readonly #limit: Rate;
  readonly #levels = new Recent<{ tokens: number; at: number }>();

  constructor(limit: Rate) {
    this.#limit = limit;
  }

  /** @returns the tokens left for `key` at `now`, in milliseconds */
  level(key: string, now: number): number {
    const last = this.#levels.get(key);
    if (last === undefined) return this.#limit.burst;
    const gained = (Math.max(0, now - last.at) * this.#limit.rate) / 1000;
    return Math.min(this.#limit.burst, last.tokens + gained);
  }

  take(key: string, now: number): void {
    this.#levels.set(key, { tokens: this.level(key, now) - 1, at: now });
  }

  get burst(): number {
    return this.#limit.burst;
  }
}

/** How many, by key; what is back at zero takes no room. */
class Counts {
  readonly #counts = new Map<string, number>();

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  add(key: string, change: 1 | -1): void {
    const count = this.of(key) + change;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
  }
}

const HALF_LIFE = 60_000;

/** Counts that halve each minute. */
class Fading {
  readonly #values = new Recent<{ value: number; at: number }>();

  of(key: string, now: number): number {
    const last = this.#values.get(key);
    return last === undefined ? 0 : last.value * 2 ** (-Math.max(0, now - last.at) / HALF_LIFE);
  }

  add(key: string, now: number): number {
    const value = this.of(key, now) + 1;
    this.#values.set(key, { value, at: now });
    return value;
  }
}

/** Wrong guesses within the half-life from which a host, a site and a service are slowed down. */
const GUESSES = { host: 3, site: 30, service: 100 } as const;
const LONGEST_DELAY = 4_000;
const FIRST_DELAY = 250;
const GUESS_PUZZLE = { first: 12, most: 20 } as const;
const LOAD_PUZZLE = { first: 12, most: 18 } as const;

export interface Slowdown {
  /** Milliseconds to wait before the challenge. */
  readonly delay: number;
  /** Leading zero bits of the puzzle; 0 for none. */
  readonly bits: number;
}

/** One half-open admission. `leave` must be called once. */
export interface Entry {
  /** Takes one of the places for SRP. @returns false when there is none */
  startSrp(): boolean;
  /** The remote goes on: its place is the last of its host to be replaced. */
  progress(): void;
  slowdown(service: string): Slowdown;
  /** @returns true when the operator should hear of it: at the first excess, then once a half-life */
  wrongGuess(service: string): boolean;
  leave(): void;
}

export class Limiter {
  readonly #limits: AdmissionLimits;
  readonly #clock: () => number;
  readonly #halfOpen: Places;
  readonly #srp: Places;
  readonly #perPeer = new Counts();
  readonly #rates: { host: Buckets; site: Buckets; total: Buckets; quiet: Buckets };
  /** Entries of a site. */
  readonly #entries = new Fading();
  readonly #guesses = new Fading();
  readonly #reported = new Recent<number>();
  /** @param clock milliseconds */
  constructor(limits: AdmissionLimits, clock: () => number) {
    this.#limits = limits;
    this.#clock = clock;
    this.#rates = {
      host: new Buckets(limits.ratePerHost),
      site: new Buckets(limits.ratePerSite),
      total: new Buckets(limits.rate),
      quiet: new Buckets(QUIET_RATE),
    };
    this.#halfOpen = new Places({
      ...{ clock, capacity: limits.halfOpen },
      ...{ perHost: limits.halfOpenPerHost, perSite: limits.halfOpenPerSite },
    });
    this.#srp = new Places({ clock, capacity: limits.srp });
  }

  /** Admissions that are not proven. */
  get halfOpen(): number {
    return this.#halfOpen.size;
  }

  /**
   * @param replaced called when the place goes to another host or site, which has fewer; `leave` must
   *   be called all the same
   * @returns undefined when there is no room: the remote is told that the super-peer is busy
   */
  enter(origin: Origin, peer: string, replaced: () => void = () => {}): Entry | undefined {
    if (this.#perPeer.of(peer) >= this.#limits.halfOpenPerPeer) return undefined;
    if (!this.#hasRate(origin)) return undefined;
    const place = this.#halfOpen.enter(origin, replaced);
    if (place === undefined) return undefined;
    this.#take(origin);
    this.#perPeer.add(peer, 1);
    let srp: Place | undefined;
    return {
      startSrp: () => {
        srp = this.#srp.enter(origin, replaced);
        return srp !== undefined;
      },
      progress: () => {
        place.progress();
        srp?.progress();
      },
      slowdown: (service) => this.#slowdown(service, origin),
      wrongGuess: (service) => this.#wrongGuess(service, origin),
      leave: () => {
        place.leave();
        srp?.leave();
        this.#perPeer.add(peer, -1);
      },
    };
  }

  /** @returns whether a host and its site stay below their rates, and all together too or this site anyway */
  #hasRate({ host, site }: Origin): boolean {
    const now = this.#clock();
    const { host: hosts, site: sites, total, quiet } = this.#rates;
    if (hosts.level(host, now) < 1 || sites.level(site, now) < 1) return false;
    if (total.level('', now) >= 1) return true;
    return this.#entries.of(site, now) < QUIET_ENTRIES && quiet.level('', now) >= 1;
  }

  #take({ host, site }: Origin): void {
    const now = this.#clock();
    const { host: hosts, site: sites, total, quiet } = this.#rates;
    hosts.take(host, now);
    sites.take(site, now);
    (total.level('', now) >= 1 ? total : quiet).take('', now);
    this.#entries.add(site, now);
  }

  #slowdown(service: string, origin: Origin): Slowdown {
    const now = this.#clock();
    const excess = this.#excess(service, origin, now);
    const delay = excess.here > 0 ? Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** excess.here) : 0;
    const guessing = Math.max(excess.here, excess.anywhere);
    const { first, most } = GUESS_PUZZLE;
    const guessBits = guessing > 0 ? Math.min(most, first + Math.floor(guessing)) : 0;
    const load = Math.max(
      this.#srp.size / this.#limits.srp,
      1 - this.#rates.host.level(origin.host, now) / this.#rates.host.burst,
    );
    return { delay, bits: Math.max(guessBits, loadBits(load)) };
  }

  /** By how many doublings the guesses are above what is borne. */
  #excess(service: string, origin: Origin, now: number): { here: number; anywhere: number } {
    const over = (key: string, borne: number): number =>
      Math.log2(Math.max(1, this.#guesses.of(`${service} ${key}`, now) / borne));
    return {
      here: Math.max(over(origin.host, GUESSES.host), over(origin.site, GUESSES.site)),
      anywhere: over('', GUESSES.service),
    };
  }

  #wrongGuess(service: string, origin: Origin): boolean {
    const now = this.#clock();
    for (const key of [origin.host, origin.site, '']) {
      this.#guesses.add(`${service} ${key}`, now);
    }
    const { here, anywhere } = this.#excess(service, origin, now);
    if (here <= 0 && anywhere <= 0) return false;
    const key = here > 0 ? `${service} ${origin.site}` : service;
    if (now - (this.#reported.get(key) ?? Number.NEGATIVE_INFINITY) < HALF_LIFE) return false;
    this.#reported.set(key, now);
    return true;
  }
}

/** No puzzle up to half of what there is, then a harder one the fuller it gets. */
function loadBits(load: number): number {
  if (load <= 0.5) return 0;
  const { first, most } = LOAD_PUZZLE;
  return Math.min(most, first + Math.floor((load - 0.5) * 2 * (most - first + 1)));
}
