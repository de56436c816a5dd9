/** Addresses and selectors as people write them, to and from the kernel's structures. */
import ipaddr from 'ipaddr.js';
import { MalformedError, ValueError } from '../netlink/errors.ts';
import type { ValueOf } from '../netlink/struct.ts';
import { AF_INET, AF_INET6, AF_UNSPEC } from './kernel/constants.ts';
import type { xfrmSelector } from './kernel/identity.ts';

/** AF_INET or AF_INET6. */
export type Family = typeof AF_INET | typeof AF_INET6;

export interface ParsedAddress {
  readonly family: Family;
  /** 16 bytes; of an IPv4 address the first four count. */
  readonly bytes: Uint8Array;
}

/** @throws ValueError unless `text` is `a.b.c.d` or an IPv6 address without zone. */
export function parseAddress(text: string, field: string): ParsedAddress {
  const bytes = new Uint8Array(16);
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) {
    bytes.set(ipaddr.IPv4.parse(text).toByteArray());
    return { family: AF_INET, bytes };
  }
  if (ipaddr.IPv6.isValid(text) && !text.includes('%')) {
    bytes.set(ipaddr.IPv6.parse(text).toByteArray());
    return { family: AF_INET6, bytes };
  }
  throw new ValueError(field, 'an IPv4 or IPv6 address');
}

/** In the form of RFC 5952. @throws MalformedError if `family` is none of IP. */
export function formatAddress(family: number, bytes: Uint8Array): string {
  if (family === AF_INET) return bytes.subarray(0, 4).join('.');
  if (family === AF_INET6) return new ipaddr.IPv6([...bytes]).toRFC5952String();
  throw new MalformedError(`address family ${family}`);
}

/** As the kernel's addresses are printed here. @throws ValueError */
export function canonicalAddress(text: string): string {
  const { family, bytes } = parseAddress(text, 'address');
  return formatAddress(family, bytes);
}

export interface Prefix extends ParsedAddress {
  readonly length: number;
}

/** @throws ValueError unless `text` is `address/length` or an address, which is a prefix of full length. */
export function parsePrefix(text: string, field: string): Prefix {
  const [address = '', length, ...rest] = text.split('/');
  const parsed = parseAddress(address, field);
  const full = parsed.family === AF_INET ? 32 : 128;
  const bits = length === undefined ? full : Number(length);
  if (rest.length > 0 || !/^\d*$/.test(length ?? '') || length === '' || bits > full) {
    throw new ValueError(field, `an address, or address/length with a length up to ${full}`);
  }
  return { ...parsed, length: bits };
}

/** A CIDR as the kernel prints it. @throws ValueError unless it is one */
export function canonicalPrefix(text: string): string {
  const { family, bytes, length } = parsePrefix(text, 'prefix');
  return `${formatAddress(family, bytes)}/${length}`;
}

/** A port and which of its bits count; a plain number means all of them. */
export interface PortMask {
  readonly port: number;
  readonly mask: number;
}

/** What traffic a state or a policy is for. Prefixes are CIDRs; both of one family. */
export interface Selector {
  readonly source: string;
  readonly destination: string;
  /** IP protocol number; any if left out. */
  readonly protocol?: number | undefined;
  /** Port, or for ICMP the type. */
  readonly sourcePort?: number | PortMask | undefined;
  /** Port, or for ICMP the code. */
  readonly destinationPort?: number | PortMask | undefined;
  readonly interfaceIndex?: number | undefined;
  readonly user?: number | undefined;
}

type RawSelector = ValueOf<typeof xfrmSelector>;

/** The selector for everything; for a state of both inner families. */
export const ANY_SELECTOR: RawSelector = {
  daddr: new Uint8Array(16),
  saddr: new Uint8Array(16),
  dport: 0,
  dportMask: 0,
  sport: 0,
  sportMask: 0,
  family: AF_UNSPEC,
  prefixlenD: 0,
  prefixlenS: 0,
  proto: 0,
  ifindex: 0,
  user: 0,
};

export function encodeSelector(selector: Selector): RawSelector {
  const source = parsePrefix(selector.source, 'selector.source');
  const destination = parsePrefix(selector.destination, 'selector.destination');
  if (source.family !== destination.family) {
    throw new ValueError('selector.source', 'of the same family as selector.destination');
  }
  const from = portMask(selector.sourcePort);
  const to = portMask(selector.destinationPort);
  return {
    daddr: destination.bytes,
    saddr: source.bytes,
    dport: to.port,
    dportMask: to.mask,
    sport: from.port,
    sportMask: from.mask,
    family: source.family,
    prefixlenD: destination.length,
    prefixlenS: source.length,
    proto: selector.protocol ?? 0,
    ifindex: selector.interfaceIndex ?? 0,
    user: selector.user ?? 0,
  };
}

function portMask(port: number | PortMask | undefined): PortMask {
  if (port === undefined) return { port: 0, mask: 0 };
  return typeof port === 'number' ? { port, mask: 0xffff } : port;
}

/** Undefined for a selector of no family, which is the one for everything. */
export function decodeSelector(raw: RawSelector): Selector | undefined {
  if (raw.family === AF_UNSPEC) return undefined;
  return {
    source: `${formatAddress(raw.family, raw.saddr)}/${raw.prefixlenS}`,
    destination: `${formatAddress(raw.family, raw.daddr)}/${raw.prefixlenD}`,
    ...(raw.proto !== 0 && { protocol: raw.proto }),
    ...(raw.sportMask !== 0 && { sourcePort: fromMask(raw.sport, raw.sportMask) }),
    ...(raw.dportMask !== 0 && { destinationPort: fromMask(raw.dport, raw.dportMask) }),
    ...(raw.ifindex !== 0 && { interfaceIndex: raw.ifindex }),
    ...(raw.user !== 0 && { user: raw.user }),
  };
}

function fromMask(port: number, mask: number): number | PortMask {
  return mask === 0xffff ? port : { port, mask };
}
