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
 * its super-peer drop it, while ESP goes on. What the kernel counts is nearer to the truth.
 */
import { Emitter } from '../events.ts';
import type { Member } from '../overlay/membership.ts';
import type { Log } from './log.ts';

/** Milliseconds between looks at members that are not listed. */
const INTERVAL_MS = 1_000;

export interface RosterOptions {
  /** Whether packets of the pair with a member were counted a short while ago. */
  readonly moves: (member: Member) => boolean;
  /** Whether a member's credential still holds: signer, epoch, time, revocation. */
  readonly holds: (member: Member) => boolean;
  readonly log: Log;
  /** Milliseconds between looks; a second when left out. */
  readonly interval?: number;
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
    this.#listed = new Map(members.map((each) => [each.peerId.toString(), each]));
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

  /** Looks again at members that are not listed: trust has changed, or time has passed. */
  recheck(): void {
    const before = this.#unlisted.size;
    for (const [name, each] of this.#unlisted) {
      if (!this.#stays(each)) this.#unlisted.delete(name);
    }
    this.#watch();
    if (this.#unlisted.size !== before) this.tell('change', this.members());
  }

  #stays(member: Member): boolean {
    return this.#options.moves(member) && this.#options.holds(member);
  }

  /** Looks now and then while there is somebody to look at. */
  #watch(): void {
    clearTimeout(this.#timer);
    if (this.#unlisted.size === 0) return;
    const { interval = INTERVAL_MS } = this.#options;
    this.#timer = setTimeout(() => this.recheck(), interval).unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.removeAllListeners();
  }
}
