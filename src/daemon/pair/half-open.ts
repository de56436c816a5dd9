/**
 * What runs that others begin may cost this node, before they have proved that they mean it. One for
 * all peers; each peer has one run at a time by the rule for simultaneous exchanges.
 *
 * ```
 *   M1 ─▶ `cookiesFrom` runs half open? ─▶ a cookie, no state, no key; M1 again with it, or nothing
 *     ─▶ has this peer begun too many?  ─▶ refused: overload
 *     ─▶ `most` runs half open?         ─▶ the oldest is given up: who means it has answered by now
 *     ─▶ half open ── M3 holds, or the run ends ──▶ not counted any more
 * ```
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { CookieJar } from '../../keymgmt/exchange/cookie.ts';
import { Allowance, type AllowanceLimits } from '../../overlay/allowance.ts';

/** Half-open runs from which on M1 is answered with a cookie. */
const COOKIES_FROM = 32;
/** Half-open runs at a time. Each is an X25519 and an ML-KEM result, a signature and a timer. */
const MOST = 256;
/** Runs that one peer may begin: rekeys are many minutes apart, and who fails waits longer each time. */
const PER_PEER: AllowanceLimits = { perSecond: 4, burst: 32 };
/** Peers whose runs are remembered. */
const MAX_METERED = 8_192;

export interface HalfOpenLimits {
  readonly cookiesFrom?: number;
  readonly most?: number;
  readonly perPeer?: AllowanceLimits;
}

export class HalfOpen {
  readonly jar = new CookieJar();
  readonly #cookiesFrom: number;
  readonly #most: number;
  readonly #allowance: Allowance;
  /** What gives each up, the oldest first. */
  readonly #open = new Set<() => void>();

  constructor({
    cookiesFrom = COOKIES_FROM,
    most = MOST,
    perPeer = PER_PEER,
  }: HalfOpenLimits = {}) {
    this.#cookiesFrom = cookiesFrom;
    this.#most = most;
    this.#allowance = new Allowance(perPeer, () => performance.now(), MAX_METERED);
  }

  get size(): number {
    return this.#open.size;
  }

  /** Whether only who returns a cookie is worth any public-key work. */
  readonly underLoad = (): boolean => this.#open.size >= this.#cookiesFrom;

  /** Whether this peer may begin one more run. */
  allows(peer: Ed25519PeerId): boolean {
    return this.#allowance.take(peer.toString(), 1);
  }

  /**
   * A run begins.
   *
   * @param giveUp ends it
   * @returns to be called when its M3 holds or it has ended, as often as one likes
   */
  enter(giveUp: () => void): () => void {
    const [oldest] = this.#open;
    if (oldest !== undefined && this.#open.size >= this.#most) {
      this.#open.delete(oldest);
      oldest();
    }
    // A function of its own for each run: the same one may come twice.
    const open = (): void => giveUp();
    this.#open.add(open);
    return () => void this.#open.delete(open);
  }
}
