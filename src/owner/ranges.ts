/**
 * Which range of a service's IPv4 prefix each super-peer gets: the first ones large, so that two of them hold a
 * service of 10,000, and some left for all that a service may name (`docs/addresses.md`).
 *
 * ```
 *  free units ─▶ less one smallest range for each super-peer that may still come ─▶ a quarter of the rest
 * ```
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import type { Prefix } from '../codec/ip.ts';
import { type AddressRange, RANGE_UNITS, smallestRange } from '../records/address-range.ts';
import { MAX_ADMITTERS, type RetiredRange, type ServiceDescriptor } from '../records/descriptor.ts';
import { OwnerError } from './errors.ts';

/**
 * Seconds beyond the life of a credential before the range of a removed super-peer may be another's: time to publish,
 * and for super-peers that were off to hear of it.
 */
const RETIRED_SECONDS = 7 * 86_400;

/** A new super-peer gets one of so many parts of what is free. */
const SHARE = 4;

/**
 * @param used ranges that super-peers have, or had until lately
 * @param named how many super-peers the service names already
 * @throws OwnerError ERR_NO_ADDRESS_RANGE
 */
export function nextRange(
  prefix: Prefix,
  used: readonly AddressRange[],
  named: number,
): AddressRange {
  const least = smallestRange(prefix);
  const holes = holesBetween(used);
  const free = holes.reduce((sum, { count }) => sum + count, 0);
  const reserved = Math.max(0, MAX_ADMITTERS - named - 1) * least;
  const wanted = Math.max(least, Math.floor((free - reserved) / SHARE));
  const largest = holes.reduce((a, b) => (b.count > a.count ? b : a), { first: 0, count: 0 });
  if (largest.count < least) {
    throw new OwnerError(
      'ERR_NO_ADDRESS_RANGE',
      'no part of the IPv4 prefix is left for another super-peer',
      'wait until the ranges of super-peers that were removed are free again, or make a service with a larger prefix',
    );
  }
  return { first: largest.first, count: Math.min(wanted, largest.count) };
}

function holesBetween(used: readonly AddressRange[]): AddressRange[] {
  const holes: AddressRange[] = [];
  let first = 0;
  const last = { first: RANGE_UNITS, count: 1 };
  for (const range of [...used].sort((a, b) => a.first - b.first).concat(last)) {
    if (range.first > first) holes.push({ first, count: range.first - first });
    first = Math.max(first, range.first + range.count);
  }
  return holes;
}

/** A super-peer that a descriptor is to name. */
export interface Place {
  readonly peerId: Ed25519PeerId;
  readonly range: AddressRange;
}

/** The first super-peers of a service, in this order. @throws OwnerError ERR_NO_ADDRESS_RANGE */
export function withRanges(
  prefix: Prefix,
  superPeers: readonly { readonly peerId: Ed25519PeerId }[],
): Place[] {
  const places: Place[] = [];
  for (const { peerId } of superPeers) {
    const used = places.map(({ range }) => range);
    places.push({ peerId, range: nextRange(prefix, used, places.length) });
  }
  return places;
}

/**
 * A super-peer keeps its range. One that is removed leaves its range behind for as long as members may have addresses
 * of it, or until it is named again; a new one gets a range that nobody has.
 *
 * @param now seconds since 1970
 * @throws OwnerError `ERR_NOT_ADMITTER`, `ERR_TOO_MANY_SUPER_PEERS`, `ERR_NO_ADDRESS_RANGE`
 */
export function changedPlaces(
  { ipv4Prefix, credentialLifetime, ...before }: ServiceDescriptor,
  add: readonly Ed25519PeerId[],
  remove: readonly Ed25519PeerId[],
  now: number,
): { places: Place[]; retired: RetiredRange[] } {
  const places = new Map<string, Place>(
    before.admitters.map(({ peerId, range }) => [peerId.toString(), { peerId, range }]),
  );
  const retired = new Map(
    before.retired
      .filter(({ until }) => until > now)
      .map((each) => [each.peerId.toString(), each] as const),
  );
  for (const peerId of remove) {
    const name = peerId.toString();
    const range = places.get(name)?.range;
    if (range === undefined) throw notAdmitter(peerId);
    places.delete(name);
    retired.set(name, { peerId, range, until: now + credentialLifetime + RETIRED_SECONDS });
  }
  for (const peerId of add) {
    const name = peerId.toString();
    if (places.has(name)) continue;
    if (places.size >= MAX_ADMITTERS) throw tooMany();
    const own = retired.get(name)?.range;
    retired.delete(name);
    const used = [...places.values(), ...retired.values()].map(({ range }) => range);
    places.set(name, { peerId, range: own ?? nextRange(ipv4Prefix, used, places.size) });
  }
  return { places: [...places.values()], retired: [...retired.values()] };
}

const tooMany = (): OwnerError =>
  new OwnerError(
    'ERR_TOO_MANY_SUPER_PEERS',
    `a service names at most ${MAX_ADMITTERS} super-peers`,
    'remove one first',
  );

const notAdmitter = (id: Ed25519PeerId): OwnerError =>
  new OwnerError(
    'ERR_NOT_ADMITTER',
    `${id} is not a super-peer of this service`,
    'give the PeerID of one that is',
  );
