/**
 * What else this machine has in the service's prefixes: its own addresses, and routes other than the default. Packets to
 * those networks would go into the tunnel.
 */
import { overlap, parseSubnet, type Subnet } from '../../policy/subnet.ts';
import type { LinkClient } from '../link/client.ts';
import type { Route } from '../link/codec.ts';
import type { CallOptions } from '../netlink/inflight.ts';
import { prefixOverlap } from './errors.ts';

/** Some VPNs write the default route as two halves, or as all global unicast addresses of IPv6 (RFC 4291, 2.4). */
const LONGEST_DEFAULT = { 32: 1, 128: 3 };

/**
 * @param own index of the service's interface, if there is one
 * @returns what overlaps, for people; the first one of each network
 */
export async function overlaps(
  links: LinkClient,
  prefixes: readonly string[],
  own: number | undefined,
  call: CallOptions,
): Promise<string[]> {
  const blocks = prefixes.map(parseSubnet);
  const names = new Map((await links.links(call)).map(({ index, name }) => [index, name]));
  const on = (index: number | undefined): string =>
    ` on ${names.get(index ?? 0) ?? 'no interface'}`;
  const found: string[] = [];
  for (const { address, interfaceIndex } of await links.addresses(call)) {
    if (interfaceIndex === own) continue;
    const host = parseSubnet(`${address}/${address.includes(':') ? 128 : 32}`);
    const block = blocks.find((each) => overlap(each, host));
    if (block) found.push(text(`address ${address}${on(interfaceIndex)}`, block));
  }
  for (const route of await links.routes(call)) {
    const { type, interfaceIndex, destination, gateway } = route;
    if (type !== 'unicast' || interfaceIndex === own || isDefault(route)) continue;
    const block = blocks.find((each) => overlap(each, parseSubnet(destination)));
    const via = gateway === undefined ? '' : ` via ${gateway}`;
    if (block) found.push(text(`route ${destination}${via}${on(interfaceIndex)}`, block));
  }
  return found;
}

/** @throws DataPlaneError `ERR_PREFIX_IN_USE` that names what overlaps */
export async function refuseOverlap(...args: Parameters<typeof overlaps>): Promise<void> {
  const [first] = await overlaps(...args);
  if (first !== undefined) throw prefixOverlap(first);
}

function isDefault({ destination }: Route): boolean {
  const { bits } = parseSubnet(destination);
  return Number(destination.split('/')[1]) <= LONGEST_DEFAULT[bits];
}

const text = (what: string, block: Subnet): string =>
  `${what} overlaps the service's prefix ${block.text}`;
