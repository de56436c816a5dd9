/**
 * The members that count as peers: those that the directory lists, and those that it has dropped while
 * their SAs still move packets.
 *
 * ```
 *  directory ─ listed ────────────────────────────┐
 *       └──── dropped ─▶ packets? credential? ─yes─┴─▶ policy ─▶ peers
 *                             └─ no ──▶ gone
 * ```
 *
 * Absence from the list is no revocation: a firewall that forgets a member's control connection makes
 * its super-peer drop it, while ESP goes on. What the kernel counts is nearer to the truth. Nor is being listed a credential:
 * while no super-peer tells of changes the list stays as it was, and a member in it goes when its credential ends.
 */
import { Emitter } from '../events.ts';
import type { Member } from '../overlay/membership.ts';
import { CLOCK_SKEW_SECONDS } from '../records/credential.ts';
import type { Log } from './log.ts';

/** Milliseconds between looks at members that are not listed. */
const INTERVAL_MS = 1_000;
/** Milliseconds between looks at the credentials of those that are: clocks go on while timers stand still. */
const LISTED_INTERVAL_MS = 15_000;

export interface RosterOptions {
  /** Whether packets of the pair with a member were counted a short while ago. */
  readonly moves: (member: Member) => boolean;
  /** Whether a member's credential still holds: signer, epoch, time, revocation. */
  readonly holds: (member: Member) => boolean;
  readonly log: Log;
  /** Milliseconds between looks; a second when left out. */
  readonly interval?: number;
  /** The same, while all are listed; 15 seconds when left out. */
  readonly listedInterval?: number;
}

interface RosterEvents {
  /** All members that count now. */
  change: [readonly Member[]];
}

export class Roster extends Emitter<RosterEvents> implements Disposable {
  readonly #options: RosterOptions;
  /** By PeerID, in text. */
  #listed = new Map<string, Member>();
  #unlisted = new Map<string, Member>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RosterOptions) {
    super();
    this.#options = options;
  }

  members(): Member[] {
    return [...this.#listed.values(), ...this.#unlisted.values()];
  }

  /** Whether the directory lists a member, rather than only its packets speaking for it. */
  lists({ peerId }: Pick<Member, 'peerId'>): boolean {
    return this.#listed.has(peerId.toString());
  }

  /** Takes the newest list. */
  follow(members: readonly Member[]): void {
    const before = new Map([...this.#unlisted, ...this.#listed]);
    const valid = members.filter((each) => !hasEnded(each));
    this.#listed = new Map(valid.map((each) => [each.peerId.toString(), each]));
    const stays = ([name, each]: [string, Member]): boolean =>
      !this.#listed.has(name) && this.#stays(each);
    const dropped = this.#unlisted;
    this.#unlisted = new Map([...before].filter(stays));
    for (const [name, { peerId }] of this.#unlisted) {
      if (!dropped.has(name)) this.#options.log('unlisted-peer-kept', { peer: peerId });
    }
    this.#watch();
    this.tell('change', this.members());
  }

  /** Looks again at members: trust has changed, or time has passed. */
  recheck(): void {
    const before = this.#listed.size + this.#unlisted.size;
    for (const [name, each] of this.#listed) if (hasEnded(each)) this.#listed.delete(name);
    for (const [name, each] of this.#unlisted) {
      if (!this.#stays(each)) this.#unlisted.delete(name);
    }
    this.#watch();
    if (this.#listed.size + this.#unlisted.size !== before) this.tell('change', this.members());
  }

  #stays(member: Member): boolean {
    return this.#options.moves(member) && this.#options.holds(member);
  }

  /** Looks now and then while there is somebody to look at. */
  #watch(): void {
    clearTimeout(this.#timer);
    if (this.#listed.size + this.#unlisted.size === 0) return;
    const { interval = INTERVAL_MS, listedInterval = LISTED_INTERVAL_MS } = this.#options;
    const wait = this.#unlisted.size === 0 ? listedInterval : interval;
    this.#timer = setTimeout(() => this.recheck(), wait).unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.removeAllListeners();
  }
}

/** As everybody who takes a credential reckons, with clocks that differ. */
const hasEnded = ({ notAfter }: Member): boolean =>
  Date.now() / 1000 >= notAfter + CLOCK_SKEW_SECONDS;
