/** Addresses of the network below: where packets to a peer really go, and from where. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { AbortOptions } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import ipaddr from 'ipaddr.js';
import { type Prefix, prefixContains } from '../codec/ip.ts';
import { ipOf } from '../codec/multiaddr.ts';

/** The port is not used: connecting a UDP socket sends nothing. */
const DISCARD_PORT = 9;

/** @returns the address that the kernel would send from to `remote`. @throws when there is no route */
export async function localAddressTowards(remote: string, options: AbortOptions): Promise<string> {
  const socket = createSocket(isIP(remote) === 6 ? 'udp6' : 'udp4');
  try {
    socket.connect(DISCARD_PORT, remote);
    await once(socket, 'connect', options);
    return socket.address().address;
  } finally {
    socket.close();
  }
}

/**
 * Whether other machines can use an address of this one: loopback and link-local addresses mean
 * another machine there, and virtual addresses lead back into the tunnel that they would set up.
 */
export function isUnderlay(address: string, virtual: readonly Prefix[]): boolean {
  const range = ipaddr.parse(address).range();
  if (range === 'loopback' || range === 'linkLocal' || range === 'unspecified') return false;
  return !virtual.some((prefix) => prefixContains(prefix, address));
}

/** @returns the addresses of this machine that other machines can use */
export function machineAddresses(virtual: readonly Prefix[]): string[] {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return all.map(({ address }) => address).filter((each) => isUnderlay(each, virtual));
}

/**
 * Leaves out the addresses that only this machine, or only the service itself, can use. When nothing
 * else is there (a service within one machine), all of them stay.
 *
 * @param virtual the prefixes of the service; may grow later
 */
export function underlayOnly(virtual: readonly Prefix[]): (all: Multiaddr[]) => Multiaddr[] {
  return (all) => {
    const kept = all.filter((each) => {
      const ip = ipOf(each);
      return ip !== undefined && isUnderlay(ip, virtual);
    });
    return kept.length > 0 ? kept : all;
  };
}
