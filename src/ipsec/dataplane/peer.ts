/**
 * What of the kernel belongs to one peer, as data: six policies and its SAs.
 *
 *     our virtual address ──out──► peer's virtual address    template: tunnel, local → remote, reqid
 *     peer's              ──in───► ours                       template: tunnel, remote → local, reqid
 *                         ──fwd──► (same, for a packet to be forwarded)
 *
 * once for each inner family, over an underlay of either. All of them carry the if_id of the
 * interface: by it they match only packets of that interface, and by it their owner knows them.
 * The reqid is the peer's alone: what one peer's SA decrypts, another peer's policy refuses, so a
 * member cannot speak with the address of another.
 */
import { isIPv6 } from 'node:net';
import { ValueError } from '../netlink/errors.ts';
import { XfrmKey } from '../xfrm/key.ts';
import type { Lifetime } from '../xfrm/lifetime.ts';
import type { PolicySpec } from '../xfrm/policy.ts';
import type { Encapsulation, StateSpec } from '../xfrm/state.ts';

export interface VirtualAddresses {
  readonly ipv6: string;
  readonly ipv4: string;
}

export interface PeerAddresses {
  readonly id: string;
  readonly virtualAddresses: VirtualAddresses;
}

/** The two ends of the tunnel, of one family. */
export interface Underlay {
  readonly local: string;
  readonly remote: string;
  /** The ports of ESP in UDP; left out, ESP goes as it is. */
  readonly udp?: { readonly localPort: number; readonly remotePort: number } | undefined;
}

export function sameUnderlay(one: Underlay, other: Underlay): boolean {
  return (
    one.local === other.local &&
    one.remote === other.remote &&
    one.udp?.localPort === other.udp?.localPort &&
    one.udp?.remotePort === other.udp?.remotePort
  );
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
  readonly ours: VirtualAddresses;
  readonly theirs: VirtualAddresses;
  readonly underlay: Underlay;
  readonly reqid: number;
  readonly ifId: number;
}

const KEY_LENGTH = 32;
const SALT_LENGTH = 4;
/** Packets: enough for reordering at 10 Gbit/s over several queues; the kernel's bound is 4,096. */
export const REPLAY_WINDOW = 1024;
/** Below the priorities that other IPsec daemons give, so that theirs win where selectors overlap. */
const POLICY_PRIORITY = 0x10000;

/**
 * Soft: time for a successor; hard: the SA is gone. An hour is the usual life of an ESP key.
 * 2^32 packets keep AES-GCM below the bound on forgeries of RFC 8221's reference [SP800-38D], by far.
 */
export const DEFAULT_LIFETIME: Lifetime = {
  seconds: { soft: 3_300n, hard: 3_900n },
  packets: { soft: 3n << 30n, hard: 1n << 32n },
  bytes: { soft: 3n << 40n, hard: 1n << 42n },
};

export function peerPolicies({ ours, theirs, underlay, reqid, ifId }: PeerContext): PolicySpec[] {
  const { local, remote } = underlay;
  return (['ipv6', 'ipv4'] as const).flatMap((family) => {
    const length = family === 'ipv6' ? 128 : 32;
    const own = `${ours[family]}/${length}`;
    const peer = `${theirs[family]}/${length}`;
    const tunnel = { mode: 'tunnel', protocol: 'esp', reqid } as const;
    const common = { ifId, priority: POLICY_PRIORITY };
    const inbound = {
      ...common,
      selector: { source: peer, destination: own },
      templates: [{ ...tunnel, source: remote, destination: local }],
    };
    return [
      {
        ...common,
        direction: 'out' as const,
        selector: { source: own, destination: peer },
        templates: [{ ...tunnel, source: local, destination: remote }],
      },
      { ...inbound, direction: 'in' as const },
      { ...inbound, direction: 'fwd' as const },
    ];
  });
}

/** Policies of this priority, from our own virtual address and without if_id, are gates of ours. */
export const GATE_PRIORITY = 0x69637670;

/**
 * The gate before the interface, one policy for each inner family, without if_id, so that it is looked
 * at when a packet is routed. An xfrm interface drops the packet that finds no SA: its lookup does
 * not ask for the policy's queue, but the one at routing does. So while there is no SA the gate is
 * `closed`, a trap whose template nothing satisfies: the kernel holds up to 100 packets in the
 * policy's queue and asks for keys. Replaced by an `open` gate, a policy without template, it
 * hands its queue on and the packets go their way, into the interface and through the SA. Where
 * `net.core.xfrm_larval_drop` is not 0 the packets are dropped as they would be without a gate.
 */
export function gatePolicies(
  { ours, theirs, underlay, reqid }: PeerContext,
  gate: 'closed' | 'open',
): PolicySpec[] {
  const tunnel = { mode: 'tunnel', protocol: 'esp', reqid } as const;
  const trap = { ...tunnel, source: underlay.local, destination: underlay.remote };
  return (['ipv6', 'ipv4'] as const).map((family) => {
    const length = family === 'ipv6' ? 128 : 32;
    return {
      direction: 'out',
      priority: GATE_PRIORITY,
      selector: {
        source: `${ours[family]}/${length}`,
        destination: `${theirs[family]}/${length}`,
      },
      templates: gate === 'closed' ? [trap] : [],
    };
  });
}

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
function encapsulation({ udp }: Underlay, direction: SaDirection): Encapsulation | undefined {
  if (udp === undefined) return undefined;
  const { localPort, remotePort } = udp;
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
  lifetime: Lifetime,
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
    encapsulation: encapsulation(underlay, direction),
    aead: { name: 'rfc4106(gcm(aes))', key: XfrmKey.of(keys.key, keys.salt), icvBits: 128 },
  };
}

/** @throws ValueError unless the parts are addresses of the family that they say, and the underlay's of one. */
export function checkVirtual({ ipv6, ipv4 }: VirtualAddresses): void {
  if (!isIPv6(ipv6)) throw new ValueError('virtualAddresses.ipv6', 'an IPv6 address');
  if (isIPv6(ipv4)) throw new ValueError('virtualAddresses.ipv4', 'an IPv4 address');
}
