/**
 * Where a remote comes from, as places and limits are shared out.
 *
 * ```
 *          site, in steps               host
 *   IPv4   /16  ▶  /24               ▶  /32
 *   IPv6   /32  ▶  /48  ▶  /56       ▶  /64, within which a host takes any address it likes
 * ```
 *
 * The steps are those in which addresses are given out: a /56 or /48 to a customer, a /32 to a provider
 * (RFC 6177, RIPE-690). Who has a /48 has 256 of /56, and still one share.
 */
import { formatIp, parseIp } from '../codec/ip.ts';

export interface Origin {
  /** One host: an IPv4 address, or an IPv6 /64. */
  readonly host: string;
  /** One site: an IPv4 /24 or an IPv6 /48. */
  readonly site: string;
  /** All steps, the coarsest first; the last one is the host. */
  readonly steps: readonly string[];
}

const UNKNOWN: Origin = { host: 'unknown', site: 'unknown', steps: ['unknown'] };

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
  if (raw.length === 4) {
    const [host, site] = [formatIp(raw), block(raw, 3)];
    return { host, site, steps: [block(raw, 2), site, host] };
  }
  const [host, site] = [block(raw, 8), block(raw, 6)];
  return { host, site, steps: [block(raw, 4), site, block(raw, 7), host] };
}

function block(raw: Uint8Array, kept: number): string {
  const network = Uint8Array.from(raw, (byte, i) => (i < kept ? byte : 0));
  return `${formatIp(network)}/${kept * 8}`;
}
