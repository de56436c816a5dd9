/**
 * Keeps one network from filling a bucket of the routing table: whoever rents many addresses in one
 * place must not decide what this node sees of the overlay.
 *
 * A bucket here is Kademlia's: the peers that share the same number of leading bits with this node
 * (Maymounkov and Mazières, IPTPS 2002, section 2.2). A network is an IPv4 /16 or an IPv6 /48.
 */
import { createHash } from 'node:crypto';
import type { PeerId } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { parseIp, prefixContains } from '../codec/ip.ts';

const LOOPBACK = [
  { network: '127.0.0.0', length: 8 },
  { network: '::1', length: 128 },
];

/** @returns the network of an address; undefined for loopback and for what is no IP address */
export function networkOf(address: Multiaddr): string | undefined {
  const ip = address.getComponents().find(({ name }) => name === 'ip4' || name === 'ip6')?.value;
  if (ip === undefined || LOOPBACK.some((prefix) => prefixContains(prefix, ip))) return undefined;
  const raw = parseIp(ip);
  const length = raw.length === 4 ? 16 : 48;
  return `${[...raw.subarray(0, length / 8)].join('.')}/${length}`;
}

/** @returns how many leading bits the two have in common in the key space of the DHT */
export function sharedBits(a: PeerId, b: PeerId): number {
  const [one, two] = [a, b].map((id) =>
    createHash('sha256').update(id.toMultihash().bytes).digest(),
  );
  for (const [i, byte] of (one ?? []).entries()) {
    const difference = byte ^ (two?.[i] ?? 0);
    if (difference !== 0) return 8 * i + Math.clz32(difference) - 24;
  }
  return 256;
}

export class Diversity {
  readonly #self: PeerId;
  readonly #max: number;
  /** Which bucket and network each peer of the routing table is in. */
  readonly #places = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  /** @param max peers of one network in one bucket */
  constructor(self: PeerId, max: number) {
    this.#self = self;
    this.#max = max;
  }

  /** Whether a peer, reached at `address`, may be in the routing table beside those that are. */
  hasRoom(peer: PeerId, address: Multiaddr): boolean {
    if (this.#places.has(peer.toString())) return true;
    const place = this.#place(peer, address);
    return place === undefined || (this.#counts.get(place) ?? 0) < this.#max;
  }

  add(peer: PeerId, address: Multiaddr): void {
    const place = this.#place(peer, address);
    if (place === undefined || this.#places.has(peer.toString())) return;
    this.#places.set(peer.toString(), place);
    this.#counts.set(place, (this.#counts.get(place) ?? 0) + 1);
  }

  remove(peer: PeerId): void {
    const place = this.#places.get(peer.toString());
    if (place === undefined) return;
    this.#places.delete(peer.toString());
    const left = (this.#counts.get(place) ?? 1) - 1;
    if (left === 0) this.#counts.delete(place);
    else this.#counts.set(place, left);
  }

  #place(peer: PeerId, address: Multiaddr): string | undefined {
    const network = networkOf(address);
    return network && `${sharedBits(this.#self, peer)} ${network}`;
  }
}
