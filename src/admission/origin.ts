/** Where a connection comes from, as limits and logs count it. */
import { formatIp, parseIp } from '../codec/ip.ts';

export interface Origin {
  /** One host: an IPv4 address, or an IPv6 /64, within which a host takes any address it likes. */
  readonly host: string;
  /** One site: an IPv4 /24 or an IPv6 /48. */
  readonly site: string;
}

const UNKNOWN: Origin = { host: 'unknown', site: 'unknown' };

/** First 12 bytes of an IPv4 address written as IPv6 (RFC 4291, 2.5.5.2). */
const MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/** @param address an IP address; whatever has none counts as one host */
export function originOf(address: string): Origin {
  let raw: Uint8Array;
  try {
    raw = parseIp(address);
  } catch {
    return UNKNOWN;
  }
  if (raw.length === 16 && MAPPED.every((byte, i) => raw[i] === byte)) raw = raw.subarray(12);
  return raw.length === 4
    ? { host: formatIp(raw), site: block(raw, 3) }
    : { host: block(raw, 8), site: block(raw, 6) };
}

function block(raw: Uint8Array, kept: number): string {
  const network = Uint8Array.from(raw, (byte, i) => (i < kept ? byte : 0));
  return `${formatIp(network)}/${kept * 8}`;
}
