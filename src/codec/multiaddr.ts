/**
 * Where a node accepts connections: an IP address or DNS name and a TCP port, as a libp2p multiaddr
 * (https://github.com/libp2p/specs/blob/master/addressing/README.md).
 *
 *     /ip4/192.0.2.1/tcp/4242   /ip6/2001:db8::1/tcp/4242   /dns4/sp.example.com/tcp/4242
 *
 * Text from outside becomes a `TcpMultiaddr` where it enters, so that no later step can fail on it. There is no
 * `/p2p/<PeerID>` in it: what the address belongs to is proved by the document that it stands in.
 */
import { isIP } from 'node:net';
import type { PeerId } from '@libp2p/interface';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import ipaddr from 'ipaddr.js';
import { AddressError, formatIp, parseIp } from './ip.ts';
import { type Codec, refine, repeated, repeatedValid, string } from './protobuf.ts';

declare const parsed: unique symbol;
/** Text that `isTcpMultiaddr` has accepted. */
export type TcpMultiaddr = string & { readonly [parsed]: true };

/** The most addresses of one node in one document. */
export const MAX_MULTIADDRS = 8;
/** Bytes of one address. */
const MAX_LENGTH = 256;
/** One label of a DNS name (RFC 1123, section 2.1), also with underscores, which resolvers take. */
const DNS_LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;
/** Nothing listens there, or it means something else on every machine. */
const UNDIALLABLE = ['unspecified', 'broadcast', 'multicast', 'linkLocal'];

/** Whether `text` is an address that can be dialled, in its one spelling. */
export function isTcpMultiaddr(text: string): text is TcpMultiaddr {
  if (text.length > MAX_LENGTH) return false;
  const [empty, kind, host = '', transport, port = '', ...more] = text.split('/');
  if (empty !== '' || transport !== 'tcp' || more.length > 0) return false;
  if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 0xffff) return false;
  if (kind === 'ip4') return isIP(host) === 4 && isDiallable(host);
  if (kind === 'ip6') return isIP(host) === 6 && isDiallable(host);
  if (kind !== 'dns' && kind !== 'dns4' && kind !== 'dns6') return false;
  return host.split('.').every((label) => DNS_LABEL.test(label));
}

function isDiallable(host: string): boolean {
  // A zone, as in fe80::1%eth0, names an interface of one machine.
  if (host.includes('%') || formatIp(parseIp(host)) !== host) return false;
  return !UNDIALLABLE.includes(ipaddr.parse(host).range());
}

/** @throws AddressError */
export function parseTcpMultiaddr(text: string): TcpMultiaddr {
  if (isTcpMultiaddr(text)) return text;
  throw new AddressError(
    text.slice(0, MAX_LENGTH),
    'an address to dial, such as /ip4/192.0.2.1/tcp/4242',
  );
}

/** Codec of one address. */
export const tcpMultiaddr = (): Codec<TcpMultiaddr> =>
  refine(string({ min: 1, max: MAX_LENGTH }), {
    parse: parseTcpMultiaddr,
    format: parseTcpMultiaddr,
  });

/** The addresses that a node tells of itself: one that is wrong spoils the message, which is its own. */
export const ownMultiaddrs = (number: number) =>
  repeated(number, tcpMultiaddr(), { max: MAX_MULTIADDRS });

/** The addresses of one of many nodes in a list: one that is wrong is left out. */
export const listedMultiaddrs = (number: number) =>
  repeatedValid(number, tcpMultiaddr(), { max: MAX_MULTIADDRS });

/** @returns the IP addresses in these, in their order; DNS names have none */
export function ipsOf(addresses: readonly TcpMultiaddr[]): string[] {
  return addresses.flatMap((each) => {
    const [, kind, host] = each.split('/');
    return (kind === 'ip4' || kind === 'ip6') && host !== undefined ? [host] : [];
  });
}

/** @returns the IP address in any multiaddr, as of a connection */
export function ipOf(address: Multiaddr): string | undefined {
  const ip = address.getComponents().find(({ name }) => name === 'ip4' || name === 'ip6');
  return ip?.value;
}

/** @returns the part of a libp2p multiaddr that a `TcpMultiaddr` holds; undefined for what others cannot dial */
export function tcpAddressOf(address: Multiaddr): TcpMultiaddr | undefined {
  const text = address.toString().replace(/\/p2p\/[^/]+$/, '');
  return isTcpMultiaddr(text) ? text : undefined;
}

/** @returns what libp2p dials, where `peer` must answer */
export function dialled(address: TcpMultiaddr, peer: PeerId): Multiaddr {
  return multiaddr(`${address}/p2p/${peer}`);
}
