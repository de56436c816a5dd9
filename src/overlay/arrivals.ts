/**
 * How many connections one host may have here, so that a flood from it leaves room for others.
 *
 * ```
 *          512 at once, 64 a second after that
 *  TCP ──▶ handshake (Noise, Yamux) ──▶ connection ──▶ closed
 *          at most 256 a host           at most 1,024 a host, handshakes included
 * ```
 *
 * A host is an IPv4 address or an IPv6 /64, within which a host takes any address it likes. A whole
 * cloud may sit behind one address: the limits leave room for some hundreds of nodes that start at once. A
 * handshake costs this node some milliseconds of computing, so it is their rate that counts in a flood.
 */
import type { ConnectionGater, MultiaddrConnection } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { parseIp } from '../codec/ip.ts';
import { containing } from '../events.ts';
import { Allowance } from './allowance.ts';

const HANDSHAKES_PER_HOST = 256;
const CONNECTIONS_PER_HOST = 1024;
const ARRIVALS_PER_HOST = { perSecond: 64, burst: 512 };
/** Hosts whose rate is remembered; the longest unseen are forgotten first. */
const REMEMBERED = 10_000;

interface Counts {
  handshakes: number;
  connections: number;
}

export class Arrivals implements ConnectionGater {
  /** Those that have connections. */
  readonly #hosts = new Map<string, Counts>();
  readonly #rate = new Allowance(ARRIVALS_PER_HOST, Date.now, REMEMBERED);
  readonly #handshakes = new WeakSet<MultiaddrConnection>();

  /** @returns whether a new connection is refused */
  denyInboundConnection(connection: MultiaddrConnection): boolean {
    const host = hostOf(connection.remoteAddr);
    const counts = this.#hosts.get(host) ?? { handshakes: 0, connections: 0 };
    const full =
      counts.handshakes >= HANDSHAKES_PER_HOST || counts.connections >= CONNECTIONS_PER_HOST;
    if (full || connection.status !== 'open' || !this.#rate.take(host, 1)) return true;
    this.#hosts.set(host, counts);
    counts.connections++;
    counts.handshakes++;
    this.#handshakes.add(connection);
    const onClose = (): void => {
      counts.connections--;
      if (this.#handshakes.delete(connection)) counts.handshakes--;
      if (counts.connections === 0) this.#hosts.delete(host);
    };
    connection.addEventListener('close', containing('close', onClose), { once: true });
    return false;
  }

  /** Its handshake is over. @returns false: whoever came so far is let in */
  denyInboundUpgradedConnection(_peer: unknown, connection: MultiaddrConnection): boolean {
    const counts = this.#hosts.get(hostOf(connection.remoteAddr));
    if (counts !== undefined && this.#handshakes.delete(connection)) counts.handshakes--;
    return false;
  }
}

/** Whatever has no IP address counts as one host. */
function hostOf(address: Multiaddr): string {
  const ip = address.getComponents().find(({ name }) => name === 'ip4' || name === 'ip6')?.value;
  if (ip === undefined) return 'unknown';
  const raw = parseIp(ip);
  return raw.length === 4 ? ip : raw.subarray(0, 8).join('.');
}
