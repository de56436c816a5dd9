/** A peer: its addresses, the way to it, and its SAs as data. Its policies are in policies.ts. */
import { isIPv6 } from 'node:net';
import { ValueError } from '../netlink/errors.ts';
import { XfrmKey } from '../xfrm/key.ts';
import type { Lifetime } from '../xfrm/lifetime.ts';
import type { Encapsulation, StateSpec } from '../xfrm/state.ts';
import type { SaOptions, UdpPorts } from './types.ts';

export interface VirtualAddresses {
  readonly ipv6: string;
  readonly ipv4: string;
}

/** What one end of a pair has. */
export interface Side {
  readonly virtualAddresses: VirtualAddresses;
  /** CIDRs behind it; disjoint, and none of them in the service's prefixes. */
  readonly subnets: readonly string[];
}

export interface PeerAddresses {
  readonly id: string;
  readonly virtualAddresses: VirtualAddresses;
  /** CIDRs behind it, none if left out. No other peer may have an address in common with them. */
  readonly subnets?: readonly string[];
}

/** The two ends of the tunnel, of one family. */
export interface Underlay {
  readonly local: string;
  readonly remote: string;
}

export function sameUnderlay(one: Underlay, other: Underlay): boolean {
  return one.local === other.local && one.remote === other.remote;
}

/** Of AES-256-GCM (RFC 4106): they are copied, the caller overwrites its own. */
export interface SaKeys {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** 4 bytes. */
  readonly salt: Uint8Array;
}

export type SaDirection = 'in' | 'out';

/** What the policies and SAs of one peer have in common. */
export interface PeerContext {
  readonly ours: Side;
  readonly theirs: Side;
  readonly underlay: Underlay;
  readonly reqid: number;
  readonly ifId: number;
  /** Of the service's xfrm interface. */
  readonly interfaceIndex: number;
}

const KEY_LENGTH = 32;
const SALT_LENGTH = 4;
/** Packets: enough for reordering at 10 Gbit/s over several queues; the kernel's bound is 4,096. */
export const REPLAY_WINDOW = 1024;
/** Seconds between MAPPING events of one SA while its peer's address or port stays the same. */
const MAPPING_INTERVAL = 1;

/**
 * Soft: time for a successor; hard: the SA is gone. An hour is the usual life of an ESP key.
 * 2^32 packets keep AES-GCM below the bound on forgeries of RFC 8221's reference [SP800-38D], by far.
 */
export const DEFAULT_LIFETIME: Lifetime = {
  seconds: { soft: 3_300n, hard: 3_900n },
  packets: { soft: 3n << 30n, hard: 1n << 32n },
  bytes: { soft: 3n << 40n, hard: 1n << 42n },
};

/** The ends of an SA as the kernel has them. */
export function saEnds(
  { local, remote }: Underlay,
  direction: SaDirection,
): { source: string; destination: string } {
  return direction === 'in'
    ? { source: remote, destination: local }
    : { source: local, destination: remote };
}

/** The source port of an inbound SA is the peer's: another one in a packet raises MAPPING. */
export function encapsulation(
  { localPort, remotePort }: UdpPorts,
  direction: SaDirection,
): Encapsulation {
  const [sourcePort, destinationPort] =
    direction === 'out' ? [localPort, remotePort] : [remotePort, localPort];
  return { type: 'espinudp', sourcePort, destinationPort };
}

/** @throws ValueError unless the key has 32 bytes and the salt 4. */
export function saState(
  { underlay, reqid, ifId }: PeerContext,
  direction: SaDirection,
  spi: number,
  keys: SaKeys,
  { lifetime = DEFAULT_LIFETIME, udp }: SaOptions,
): StateSpec & { readonly aead: { readonly key: XfrmKey } } {
  if (keys.key.length !== KEY_LENGTH) throw new ValueError('key', `${KEY_LENGTH} bytes`);
  if (keys.salt.length !== SALT_LENGTH) throw new ValueError('salt', `${SALT_LENGTH} bytes`);
  return {
    ...saEnds(underlay, direction),
    spi,
    protocol: 'esp',
    mode: 'tunnel',
    reqid,
    ifId,
    lifetime,
    replay: { window: REPLAY_WINDOW, esn: true },
    ...(udp && { encapsulation: encapsulation(udp, direction) }),
    ...(udp && direction === 'in' && { mappingThreshold: MAPPING_INTERVAL }),
    aead: { name: 'rfc4106(gcm(aes))', key: XfrmKey.of(keys.key, keys.salt), icvBits: 128 },
  };
}

/** @throws ValueError unless the parts are addresses of the family that they say, and the underlay's of one. */
export function checkVirtual({ ipv6, ipv4 }: VirtualAddresses): void {
  if (!isIPv6(ipv6)) throw new ValueError('virtualAddresses.ipv6', 'an IPv6 address');
  if (isIPv6(ipv4)) throw new ValueError('virtualAddresses.ipv4', 'an IPv4 address');
}
