/**
 * Where others find a member: first the address that its connection to a super-peer comes from, then what it says
 * itself. The connection has shown that packets pass there. Behind a 1:1 NAT (an elastic or floating IP) the member
 * cannot know that address; and where several machines have one private address, it is not the one to tell.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { type Prefix, prefixContains } from '../codec/ip.ts';
import { ipsOf, isTcpMultiaddr, MAX_MULTIADDRS, type TcpMultiaddr } from '../codec/multiaddr.ts';

/** Nothing of another machine comes from there. */
const LOCAL = ['loopback', 'linkLocal', 'unspecified'];

/**
 * @param told by the member
 * @param seen the IP address that its connection comes from
 * @param virtual prefixes of the service: what comes from there came through a tunnel
 */
export function seenFirst(
  told: readonly TcpMultiaddr[],
  seen: string | undefined,
  virtual: readonly Prefix[],
): TcpMultiaddr[] {
  const isSeen = (each: TcpMultiaddr): boolean => ipsOf([each])[0] === seen;
  const known = told.filter(isSeen);
  const rest = told.filter((each) => !isSeen(each));
  const found = known.length > 0 ? known : listening(told, seen, virtual);
  return [...found, ...rest].slice(0, MAX_MULTIADDRS);
}

/** The port is that at which it listens at an address of the same family, or else at any. */
function listening(
  told: readonly TcpMultiaddr[],
  seen: string | undefined,
  virtual: readonly Prefix[],
): TcpMultiaddr[] {
  if (seen === undefined || isIP(seen) === 0 || LOCAL.includes(ipaddr.parse(seen).range()))
    return [];
  if (virtual.some((prefix) => prefixContains(prefix, seen))) return [];
  const sameFamily = told.find((each) => ipsOf([each]).some((ip) => isIP(ip) === isIP(seen)));
  const port = (sameFamily ?? told[0])?.split('/').at(-1);
  return [`/ip${isIP(seen)}/${seen}/tcp/${port}`].filter(isTcpMultiaddr);
}
