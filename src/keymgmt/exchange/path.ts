/**
 * How the SAs of a run carry ESP: as it is, or in UDP on one port (RFC 3948).
 *
 * Each end says in M1 or knows by itself what it wants and where it sees the other; the responder
 * decides, in `hello`, so that both ends follow one decision, which both signatures cover.
 *
 * ```
 *   policies of the two ends      a NAT between?   ESP found    decision
 *                                                  blocked?
 *   esp  and esp or auto          any              any          ESP          policy
 *   udp  and udp or auto          any              any          ESP in UDP   policy
 *   esp  and udp                  any              any          refused
 *   auto and auto                 no               no           ESP          direct
 *   auto and auto                 yes              any          ESP in UDP   nat
 *   auto and auto                 no               yes          ESP in UDP   blocked
 * ```
 *
 * Where ESP in UDP would be right and an end has no port for it, `auto` takes ESP (`no-udp`), and
 * `udp` is refused.
 *
 * An end is behind a NAT when the other sees it at an address that it does not have (the idea of
 * RFC 7296, section 2.23, NAT_DETECTION; here both addresses are inside the signed transcript).
 */
import { formatIp, parseIp } from '../../codec/ip.ts';
import {
  bytes,
  type Codec,
  type Infer,
  message,
  optional,
  refine,
  repeated,
  required,
  uint32,
} from '../../codec/protobuf.ts';
import type { EncapsulationPolicy } from '../../policy/grant.ts';

/** Addresses of its own that an end may list. */
export const MAX_OWN_ADDRESSES = 16;

export type PathReason =
  /** Both ends are directly reachable, as far as is known. */
  | 'direct'
  /** An end's policy says so. */
  | 'policy'
  /** At least one end is behind a NAT. */
  | 'nat'
  /** ESP by itself was found not to pass. */
  | 'blocked'
  /** ESP in UDP would be right, but an end has no port for it. */
  | 'no-udp';

const POLICIES: readonly EncapsulationPolicy[] = ['auto', 'esp', 'udp'];
const REASONS: readonly PathReason[] = ['direct', 'policy', 'nat', 'blocked', 'no-udp'];
const [INITIATOR, RESPONDER] = [1, 2];

/** One of a list, as its place from 1 on. */
function oneOf<T extends string>(names: readonly T[]): Codec<T> {
  return refine<number, T>(uint32({ max: names.length }), {
    parse(number) {
      const name = names[number - 1];
      if (name === undefined) throw new RangeError(`${number} is none of ${names.join(', ')}`);
      return name;
    },
    format: (name) => names.indexOf(name) + 1,
  });
}

const address = refine(bytes({ min: 4, max: 16 }), { parse: formatIp, format: parseIp });
const port = refine(uint32({ max: 0xffff }), {
  parse(value) {
    if (value === 0) throw new RangeError('port 0');
    return value;
  },
  format: (value: number) => value,
});

export const pathOfferCodec = message({
  policy: required(1, oneOf(POLICIES)),
  /** Of this end's interfaces. */
  addresses: repeated(2, address, { max: MAX_OWN_ADDRESSES }),
  /** Where this end sees the other; left out if it does not see it directly. */
  seen: optional(3, address),
  /** Where this end takes ESP in UDP; left out if nowhere. */
  udpPort: optional(4, port),
  /** 1: ESP by itself was found not to pass between the two. */
  blocked: required(5, uint32({ max: 1 })),
});
/** What one end brings to the decision. */
export type PathOffer = Infer<typeof pathOfferCodec>;

export const pathChoiceCodec = message({
  why: required(1, oneOf(REASONS)),
  /** Who is behind a NAT: bit 0 the initiator, bit 1 the responder. */
  natted: required(2, uint32({ max: 3 })),
  /** The responder's port; left out for ESP as it is. */
  udpPort: optional(3, port),
});
export type PathChoice = Infer<typeof pathChoiceCodec>;

/** The decision as one end sees it. */
export interface Path {
  readonly why: PathReason;
  readonly localNatted: boolean;
  readonly peerNatted: boolean;
  /** The ports that both ends have themselves, without what a NAT makes of them; undefined for ESP as it is. */
  readonly udp: { readonly localPort: number; readonly peerPort: number } | undefined;
}

/** The responder's rule. @returns undefined when the two ends cannot agree */
export function choosePath(offer: PathOffer, own: PathOffer): PathChoice | undefined {
  const natted =
    (behindNat(offer.addresses, own.seen) ? INITIATOR : 0) +
    (behindNat(own.addresses, offer.seen) ? RESPONDER : 0);
  const { udpPort } = own;
  const udpPossible = udpPort !== undefined && offer.udpPort !== undefined;
  const esp = (why: PathReason): PathChoice => ({ why, natted, udpPort: undefined });
  const udp = (why: PathReason): PathChoice => ({ why, natted, udpPort });
  const policies = [offer.policy, own.policy];
  if (policies.includes('esp')) return policies.includes('udp') ? undefined : esp('policy');
  if (policies.includes('udp')) return udpPossible ? udp('policy') : undefined;
  const blocked = offer.blocked + own.blocked > 0;
  if (natted === 0 && !blocked) return esp('direct');
  if (!udpPossible) return esp('no-udp');
  return udp(natted === 0 ? 'blocked' : 'nat');
}

/** Whether what the responder chose is something that this end, the initiator, offered. */
export function acceptable({ udpPort }: PathChoice, own: PathOffer): boolean {
  if (udpPort === undefined) return own.policy !== 'udp';
  return own.policy !== 'esp' && own.udpPort !== undefined;
}

/** @param peerPort where the other end takes ESP in UDP */
export function pathOf(
  { why, natted, udpPort }: PathChoice,
  role: 'initiator' | 'responder',
  own: PathOffer,
  peerPort: number | undefined,
): Path {
  const [local, peer] = role === 'initiator' ? [INITIATOR, RESPONDER] : [RESPONDER, INITIATOR];
  const localPort = udpPort === undefined ? undefined : own.udpPort;
  return {
    why,
    localNatted: (natted & local) !== 0,
    peerNatted: (natted & peer) !== 0,
    udp: localPort !== undefined && peerPort !== undefined ? { localPort, peerPort } : undefined,
  };
}

const behindNat = (addresses: readonly string[], seen: string | undefined): boolean =>
  seen !== undefined && !addresses.includes(seen);
