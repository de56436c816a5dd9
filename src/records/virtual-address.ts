/**
 * Virtual addresses that need no coordination.
 *
 * ```
 * IPv6  fd | 40 bits of H(ServiceID) | 16 bits 0 | 64 bits of H(ServiceID, PeerID)     RFC 4193, 3.2
 * IPv4  the service's prefix | slot of the super-peer (6 bits) | host number within the slot
 * ```
 *
 * IPv4 has too few bits for hashes not to meet. So the descriptor gives each super-peer a slot, and
 * each assigns host numbers inside its own slot only: no two can assign the same address.
 */
import { createHash } from 'node:crypto';
import type { Ed25519PeerId } from '@libp2p/interface';
import { formatIp, type Prefix, parseIp } from '../codec/ip.ts';
import { IcvpnError } from '../errors.ts';
import { MAX_ADMITTERS } from './descriptor.ts';

const SLOT_BITS = Math.log2(MAX_ADMITTERS);

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

export class Ipv4PoolError extends IcvpnError {
  constructor(message: string) {
    super(
      'ERR_IPV4_POOL',
      message,
      'give the service a larger IPv4 prefix (icvpn service create --ipv4)',
    );
  }
}

/**
 * The IPv4 addresses that one super-peer may assign. Each slot leaves out its first and last
 * address, so that the prefix's own network and broadcast addresses are never assigned.
 *
 * @throws Ipv4PoolError when the prefix is too small for 64 slots of at least 2 members
 */
export class Ipv4Pool {
  readonly #first: number;
  /** How many addresses there are to assign. */
  readonly size: number;

  constructor(prefix: Prefix, slot: number) {
    const hostBits = 32 - prefix.length - SLOT_BITS;
    if (parseIp(prefix.network).length !== 4 || hostBits < 2) {
      throw new Ipv4PoolError(`an IPv4 prefix of /${32 - SLOT_BITS - 2} or shorter is needed`);
    }
    const raw = parseIp(prefix.network);
    this.#first = new DataView(raw.buffer).getUint32(0) + slot * 2 ** hostBits + 1;
    this.size = 2 ** hostBits - 2;
  }

  /**
   * @param taken whether an address is assigned to another member
   * @returns an address for `member`, the same one each time while nobody else holds it
   * @throws Ipv4PoolError when all are taken
   */
  assign(
    service: Ed25519PeerId,
    member: Ed25519PeerId,
    taken: (address: string) => boolean,
  ): string {
    const view = hash('ipv4 host', service, member);
    const start = new DataView(view.buffer, view.byteOffset).getUint32(0) % this.size;
    for (let i = 0; i < this.size; i++) {
      const raw = new Uint8Array(4);
      new DataView(raw.buffer).setUint32(0, this.#first + ((start + i) % this.size));
      const address = formatIp(raw);
      if (!taken(address)) return address;
    }
    throw new Ipv4PoolError(`all ${this.size} IPv4 addresses of this super-peer are assigned`);
  }
}
