/**
 * The part of a service's IPv4 prefix that one super-peer gives addresses from.
 *
 * A prefix has 1,024 units, whatever its length; a range is a run of them. `docs/addresses.md` says why.
 */
import { formatIp, type Prefix, parseIp } from '../codec/ip.ts';
import { type Codec, refine, uint53 } from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';

/** Units that a prefix is cut into. */
export const RANGE_UNITS = 1024;
/** A super-peer has at least so many addresses, the prefix's own first and last one among them. */
const MIN_ADDRESSES = 4;
/** The form before had 64 equal slots. */
const SLOTS = 64;
const SLOT_UNITS = RANGE_UNITS / SLOTS;

/** A run of units. */
export interface AddressRange {
  readonly first: number;
  readonly count: number;
}

export const WHOLE_PREFIX: AddressRange = { first: 0, count: RANGE_UNITS };

/** There is no address, or no range, to give. */
export class Ipv4PoolError extends IcvpnError {
  constructor(message: string, remedy: string) {
    super('ERR_IPV4_POOL', message, remedy);
  }
}

/** @throws Ipv4PoolError when the prefix is not of IPv4, or too small */
export function checkIpv4Prefix({ network, length }: Prefix): void {
  if (parseIp(network).length === 4 && 2 ** (32 - length) >= SLOTS * MIN_ADDRESSES) return;
  throw new Ipv4PoolError(
    'an IPv4 prefix of /24 or shorter is needed',
    'give the service a larger IPv4 prefix: icvpn service create --ipv4',
  );
}

/** The fewest units of a prefix that hold addresses enough for one super-peer. */
export function smallestRange({ length }: Prefix): number {
  return Math.max(1, (MIN_ADDRESSES * RANGE_UNITS) / 2 ** (32 - length));
}

export const overlapping = (a: AddressRange, b: AddressRange): boolean =>
  a.first < b.first + b.count && b.first < a.first + a.count;

/** The addresses of a range, as numbers: the last one is not included, nor the prefix's own first and last. */
export function addressesIn(
  { network, length }: Prefix,
  { first, count }: AddressRange,
): { readonly from: number; readonly to: number } {
  const raw = parseIp(network);
  const start = new DataView(raw.buffer, raw.byteOffset).getUint32(0);
  const size = 2 ** (32 - length);
  const unit = size / RANGE_UNITS;
  return {
    from: start + Math.max(1, Math.floor(first * unit)),
    to: start + Math.min(size - 1, Math.floor((first + count) * unit)),
  };
}

export function ipv4Number(address: string): number {
  const raw = parseIp(address);
  return new DataView(raw.buffer, raw.byteOffset).getUint32(0);
}

export function ipv4Text(number: number): string {
  const raw = new Uint8Array(4);
  new DataView(raw.buffer).setUint32(0, number);
  return formatIp(raw);
}

/** As a number: count * 1024 + first. Below 64 it is a slot, as descriptors had before ranges. */
export const addressRange = (): Codec<AddressRange> =>
  refine(uint53({ max: RANGE_UNITS * RANGE_UNITS + RANGE_UNITS - 1 }), {
    parse: (value) => {
      if (value < SLOTS) return { first: value * SLOT_UNITS, count: SLOT_UNITS };
      const range = { first: value % RANGE_UNITS, count: Math.floor(value / RANGE_UNITS) };
      return checkRange(range);
    },
    format: (range) => {
      const { first, count } = checkRange(range);
      return count * RANGE_UNITS + first;
    },
  });

/** @throws RangeError unless the range lies within the units */
function checkRange(range: AddressRange): AddressRange {
  const { first, count } = range;
  if (first >= 0 && count > 0 && first + count <= RANGE_UNITS) return range;
  throw new RangeError(`no range of units: ${count} from ${first}`);
}
