/**
 * Virtual addresses that need no coordination.
 *
 * ```
 * IPv6  fd | 40 bits of H(ServiceID) | 16 bits 0 | 64 bits of H(ServiceID, PeerID)     RFC 4193, 3.2
 * IPv4  an address in the range of the super-peer that admitted the member
 * ```
 *
 * IPv4 has too few bits for hashes not to meet. So the descriptor gives each super-peer a range of the
 * prefix, and each gives addresses of its own range only: no two can give the same one.
 */
import { createHash } from 'node:crypto';
import type { Ed25519PeerId } from '@libp2p/interface';
import { formatIp, type Prefix, parseIp } from '../codec/ip.ts';
import { type AddressRange, addressesIn, ipv4Number, ipv4Text } from './address-range.ts';

function hash(label: string, ...ids: Ed25519PeerId[]): Uint8Array {
  const state = createHash('sha256').update(`icvpn ${label} 1`);
  for (const id of ids) state.update(id.toMultihash().bytes);
  return state.digest();
}

/** @returns the service's /64 */
export function ipv6Prefix(service: Ed25519PeerId): Prefix {
  const raw = new Uint8Array(16);
  raw[0] = 0xfd;
  raw.set(hash('ipv6 prefix', service).subarray(0, 5), 1);
  return { network: formatIp(raw), length: 64 };
}

/** @returns all prefixes of members' own addresses */
export const virtualPrefixes = (service: Ed25519PeerId, ipv4: Prefix): readonly Prefix[] => [
  ipv4,
  ipv6Prefix(service),
];

/** @returns the member's address in the service's /64 */
export function ipv6Address(service: Ed25519PeerId, member: Ed25519PeerId): string {
  const raw = parseIp(ipv6Prefix(service).network);
  raw.set(hash('ipv6 interface', service, member).subarray(0, 8), 8);
  return formatIp(raw);
}

/** @returns the kernel's xfrm interface id of a service: 32 bits, never 0 (which means "none") */
export function interfaceId(service: Ed25519PeerId): number {
  const view = hash('xfrm if_id', service);
  return new DataView(view.buffer, view.byteOffset).getUint32(0) || 1;
}

/** The IPv4 addresses that one super-peer may give. */
export class Ipv4Pool {
  readonly #first: number;
  /** How many addresses there are to give. */
  readonly size: number;

  constructor(prefix: Prefix, range: AddressRange) {
    const { from, to } = addressesIn(prefix, range);
    this.#first = from;
    this.size = Math.max(0, to - from);
  }

  has(address: string): boolean {
    const number = ipv4Number(address);
    return number >= this.#first && number < this.#first + this.size;
  }

  /**
   * @param taken whether an address is another member's
   * @returns an address for `member`, the same one each time while nobody else holds it; undefined when
   * all are taken
   */
  pick(
    service: Ed25519PeerId,
    member: Ed25519PeerId,
    taken: (address: string) => boolean,
  ): string | undefined {
    if (this.size === 0) return undefined;
    const view = hash('ipv4 host', service, member);
    const start = new DataView(view.buffer, view.byteOffset).getUint32(0) % this.size;
    for (let i = 0; i < this.size; i++) {
      const address = ipv4Text(this.#first + ((start + i) % this.size));
      if (!taken(address)) return address;
    }
    return undefined;
  }
}
