/**
 * IP addresses and prefixes, always in one spelling: dotted quads for IPv4, RFC 5952 for IPv6.
 */
import ipaddr from 'ipaddr.js';
import { IcvpnError } from '../errors.ts';
import { bytes, type Codec, refine, string } from './protobuf.ts';

export class AddressError extends IcvpnError {
  constructor(text: string, wanted: string) {
    super('ERR_ADDRESS', `"${text}" is not ${wanted}`, 'correct the address');
  }
}

/** @param raw 4 or 16 bytes, network order. @returns the address in its one spelling */
export function formatIp(raw: Uint8Array): string {
  // Lists have hundreds of addresses, nearly all of them plain: for those this is ten times as fast.
  if (raw.length === 4) return raw.join('.');
  if (raw.length === 16) {
    const text = Array.from({ length: 8 }, (_, i) => group(raw, i)).join(':');
    // Without two groups of zeros in a row there is nothing to shorten.
    if (!text.includes('0:0')) return text;
  }
  const address = ipaddr.fromByteArray([...raw]);
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();
}

const group = (raw: Uint8Array, i: number): string =>
  (((raw[2 * i] ?? 0) << 8) | (raw[2 * i + 1] ?? 0)).toString(16);

/** @returns 4 or 16 bytes, network order. @throws AddressError */
export function parseIp(text: string): Uint8Array {
  const wide = text.includes(':');
  if (
    wide
      ? !ipaddr.IPv6.isValid(text) || text.includes('%')
      : !ipaddr.IPv4.isValidFourPartDecimal(text)
  ) {
    throw new AddressError(text, 'an IP address');
  }
  return Uint8Array.from(ipaddr.parse(text).toByteArray());
}

/** An address block: `network` has no bits set behind the first `length`. */
export interface Prefix {
  readonly network: string;
  readonly length: number;
}

/** @throws AddressError also when bits behind the prefix length are set */
export function parsePrefix(text: string): Prefix {
  const slash = text.indexOf('/');
  const digits = text.slice(slash + 1);
  if (slash < 0 || !/^\d{1,3}$/.test(digits))
    throw new AddressError(text, 'an address/length prefix');
  const raw = parseIp(text.slice(0, slash));
  const length = Number(digits);
  if (length > raw.length * 8) throw new AddressError(text, 'an address/length prefix');
  const tail = raw.some(
    (byte, i) => (byte & (0xff >> clamp(length - i * 8))) !== 0 && i * 8 + 8 > length,
  );
  if (tail) throw new AddressError(text, `a prefix: bits behind /${length} are set`);
  return { network: formatIp(raw), length };
}

const clamp = (bits: number): number => Math.max(0, Math.min(8, bits));

export function formatPrefix(prefix: Prefix): string {
  return `${prefix.network}/${prefix.length}`;
}

/** Whether `address` lies in `prefix`; an address of the other family does not. */
export function prefixContains(prefix: Prefix, address: string): boolean {
  const net = parseIp(prefix.network);
  const raw = parseIp(address);
  if (net.length !== raw.length) return false;
  return net.every((byte, i) => {
    const mask = 0xff & ~(0xff >> clamp(prefix.length - i * 8));
    return (byte & mask) === ((raw[i] ?? 0) & mask);
  });
}

/** Codec of an IPv4 address (4 bytes). */
export const ipv4 = (): Codec<string> =>
  refine(bytes({ length: 4 }), { parse: formatIp, format: parseIp });

/** Codec of an IPv6 address (16 bytes). */
export const ipv6 = (): Codec<string> =>
  refine(bytes({ length: 16 }), { parse: formatIp, format: parseIp });

/** The longest IPv6 address in its one spelling, and `/128`. */
const MAX_CIDR = 43;

function oneSpelling(text: string): string {
  if (formatPrefix(parsePrefix(text)) !== text) throw new AddressError(text, 'in its one spelling');
  return text;
}

/** Codec of a CIDR of either family, as text. */
export const cidr = (): Codec<string> =>
  refine(string({ max: MAX_CIDR }), { parse: oneSpelling, format: oneSpelling });
