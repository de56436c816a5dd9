/**
 * Stateless cookies: under load a responder answers M1 with a cookie and forgets it; only who
 * repeats M1 with the cookie costs it any public-key work (after IKEv2, RFC 7296, section 2.6).
 *
 * ```
 * cookie = slot (4 bytes) | HMAC(secret, slot, PeerID, M1 without its cookie) (32 bytes)
 * ```
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Ed25519PeerId } from '@libp2p/interface';
import { concat } from 'uint8arrays/concat';
import { encodeFrame, type M1 } from './messages.ts';
import { hmac, joined } from './primitives.ts';

/** A cookie is good in the slot it was made in and in the next, so for 30 to 60 seconds. */
const SLOT_SECONDS = 30;

export class CookieJar {
  readonly #secret = randomBytes(32);
  readonly #now: () => number;

  /** @param options.now seconds since any fixed time */
  constructor(options: { now?: () => number } = {}) {
    this.#now = options.now ?? (() => performance.now() / 1000);
  }

  /** @returns the frame that asks for M1 again */
  challenge(peer: Ed25519PeerId, m1: M1): Uint8Array {
    return encodeFrame({ cookie: this.#cookie(this.#slot(), peer, m1) });
  }

  /** Whether `m1` brings a cookie that was given to this peer for this very M1. */
  holds(peer: Ed25519PeerId, m1: M1): boolean {
    const { cookie } = m1;
    if (cookie === undefined) return false;
    const slot = new DataView(cookie.buffer, cookie.byteOffset).getUint32(0);
    const age = this.#slot() - slot;
    return age >= 0 && age <= 1 && timingSafeEqual(cookie, this.#cookie(slot, peer, m1));
  }

  #slot(): number {
    return Math.floor(this.#now() / SLOT_SECONDS);
  }

  #cookie(slot: number, peer: Ed25519PeerId, m1: M1): Uint8Array {
    const head = new Uint8Array(4);
    new DataView(head.buffer).setUint32(0, slot);
    const bare = encodeFrame({ m1: { ...m1, cookie: undefined } });
    return concat([head, hmac(this.#secret, joined(head, peer.toMultihash().bytes, bare))]);
  }
}
