/**
 * Whom of those that dial this node it lets in, so that a flood leaves room for others.
 *
 * ```
 *          a host: 512 at once, 64 a second after that; a site four times as much
 *  TCP ──▶ stranger: Noise, Yamux, admission, hello ──▶ passes a gate ──▶ known
 *          2,048 places, shared out by host and site                      at most 1,024 connections
 *          (`shares/places.ts`), at most 1,024 a host                     a host, strangers included
 * ```
 *
 * A silent connection of the largest site makes room for a newcomer. A host from which somebody has passed a
 * gate has 512 places more, shared out in the same way: members and super-peers come back in a flood.
 *
 * A whole cloud may sit behind one address: the limits leave room for some hundreds of nodes that start at
 * once. A handshake costs this node some milliseconds of computing, so it is their rate that counts.
 */
import type { Connection, ConnectionGater, MultiaddrConnection } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { containing } from '../events.ts';
import { type Origin, originOf } from '../shares/origin.ts';
import { type Place, Places } from '../shares/places.ts';
import { Allowance } from './allowance.ts';

/** Those who have not passed a gate; a handshake is as long a stranger as an admission. */
const STRANGERS = 2_048;
/** The same, from hosts that are known. */
const RESERVED = 512;
/** Milliseconds after which a silent connection makes room for another of the same host. */
const SILENT = 1_000;
const CONNECTIONS_PER_HOST = 1_024;
const ARRIVALS_PER_HOST = { perSecond: 64, burst: 512 };
const ARRIVALS_PER_SITE = { perSecond: 256, burst: 2_048 };
/** Hosts that are remembered, for their rate and for what is known; the longest unseen are forgotten. */
const REMEMBERED = 10_000;

export interface ArrivalLimits {
  /** Places for strangers. */
  readonly strangers: number;
  /** Places for those that come from a known host. */
  readonly reserved: number;
}

export class Arrivals implements ConnectionGater {
  readonly #perHost = new Map<string, number>();
  readonly #hostRate = new Allowance(ARRIVALS_PER_HOST, Date.now, REMEMBERED);
  readonly #siteRate = new Allowance(ARRIVALS_PER_SITE, Date.now, REMEMBERED);
  readonly #strangers: Places;
  readonly #reserved: Places;
  /** Hosts from which somebody passed a gate; the last seen stands last. */
  readonly #known = new Set<string>();
  /** By the timeline that a connection shares with the socket under it. */
  readonly #places = new WeakMap<object, Place>();

  constructor(limits: Partial<ArrivalLimits> = {}) {
    const { strangers = STRANGERS, reserved = RESERVED } = limits;
    const common = { silent: SILENT, clock: performance.now.bind(performance) };
    this.#strangers = new Places({ ...common, capacity: strangers });
    this.#reserved = new Places({ ...common, capacity: reserved });
  }

  /** @returns whether a new connection is refused */
  denyInboundConnection(connection: MultiaddrConnection): boolean {
    const origin = originAt(connection.remoteAddr);
    const { host, site } = origin;
    const count = this.#perHost.get(host) ?? 0;
    if (connection.status !== 'open' || count >= CONNECTIONS_PER_HOST) return true;
    if (!this.#hostRate.take(host, 1) || !this.#siteRate.take(site, 1)) return true;
    const place = this.#place(origin, connection);
    if (place === undefined) return true;
    this.#places.set(connection.timeline, place);
    this.#perHost.set(host, count + 1);
    const onClose = (): void => {
      place.leave();
      const left = (this.#perHost.get(host) ?? 1) - 1;
      if (left === 0) this.#perHost.delete(host);
      else this.#perHost.set(host, left);
    };
    connection.addEventListener('close', containing('close', onClose), { once: true });
    return false;
  }

  /** Its handshake is over. @returns false: whoever came so far is let in */
  denyInboundUpgradedConnection(_peer: unknown, connection: MultiaddrConnection): boolean {
    this.#places.get(connection.timeline)?.progress();
    return false;
  }

  /** The other end has passed a gate: it is no stranger any more, and its host is known from now on. */
  known(connection: Connection): void {
    this.#places.get(connection.timeline)?.leave();
    const { host } = originAt(connection.remoteAddr);
    this.#known.delete(host);
    this.#known.add(host);
    const [oldest] = this.#known;
    if (this.#known.size > REMEMBERED && oldest !== undefined) this.#known.delete(oldest);
  }

  #place(origin: Origin, connection: MultiaddrConnection): Place | undefined {
    const evict = (): void => connection.abort(new Error('others need the place'));
    const reserved = this.#known.has(origin.host);
    return (
      (reserved ? this.#reserved.enter(origin, evict) : undefined) ??
      this.#strangers.enter(origin, evict)
    );
  }
}

/** @returns where an address is; whatever has no IP address counts as one host */
export function originAt(address: Multiaddr): Origin {
  const ip = address.getComponents().find(({ name }) => name === 'ip4' || name === 'ip6')?.value;
  return originOf(ip ?? '');
}
