/** The service's xfrm interface with its addresses and routes: made, recognised, taken away. */
import type { LinkClient } from '../link/client.ts';
import type { Link, Route } from '../link/codec.ts';
import { LinkError } from '../link/errors.ts';
import type { CallOptions } from '../netlink/inflight.ts';
import { canonicalAddress } from '../xfrm/address.ts';
import { inUse, noEsp } from './errors.ts';
import { refuseOverlap } from './overlap.ts';
import type { VirtualAddresses } from './peer.ts';
import type { Site } from './site.ts';

export interface InterfaceOptions {
  readonly interfaceName: string;
  readonly ifId: number;
  readonly mtu: number;
  readonly virtualAddresses: VirtualAddresses;
  /** CIDRs of the service, routed to the interface. */
  readonly prefixes: VirtualAddresses;
  /** What is behind this machine, if it is a gateway. */
  readonly site?: Site;
}

/** "icvp": interfaces of this group are ours. It is set as the interface is made, so no crash can part them. */
export const INTERFACE_GROUP = 0x69637670;
/** RTPROT number of our routes, one that iproute2 has no name for. */
export const ROUTE_PROTOCOL = 73;
/** Behind every other route. */
export const LAST_METRIC = 0xffff_ffff;

/** Whether `link` was made by an icvpn for this service. */
export function isOurs(
  link: Link,
  { interfaceName, ifId }: Pick<InterfaceOptions, 'interfaceName' | 'ifId'>,
): boolean {
  return (
    link.name === interfaceName &&
    link.kind === 'xfrm' &&
    link.group === INTERFACE_GROUP &&
    link.ifId === ifId
  );
}

export interface Claim {
  /** Whether an interface is that of the service, or none that there is. */
  readonly ownsInterface: (index: number) => boolean;
  /** No data plane is there, and nothing of one that was killed: routes come before an interface and go after it. */
  readonly isFirst: boolean;
}

/**
 * Removes what an earlier run left of this interface. What keeps packets from leaving in clear
 * (the unreachable routes) stays.
 *
 * @returns what belongs to this service, and whether anything of a data plane is in the kernel
 * @throws DataPlaneError `ERR_INTERFACE_IN_USE`, `ERR_IF_ID_IN_USE`, `ERR_ADDRESS_IN_USE`, `ERR_PREFIX_IN_USE`
 */
export async function claim(
  links: LinkClient,
  options: InterfaceOptions,
  call: CallOptions,
): Promise<Claim> {
  const all = await links.links(call);
  const old = all.find((link) => isOurs(link, options));
  for (const link of all) {
    if (link === old) continue;
    if (link.name === options.interfaceName) {
      throw inUse('ERR_INTERFACE_IN_USE', `interface ${link.name}`, 'interface name');
    }
    if (link.ifId === options.ifId) {
      throw inUse('ERR_IF_ID_IN_USE', `if_id ${link.ifId}, by ${link.name},`, 'if_id');
    }
  }
  const own = Object.values(options.virtualAddresses).map(canonicalAddress);
  for (const { address, interfaceIndex } of await links.addresses(call)) {
    if (own.includes(address) && interfaceIndex !== old?.index) {
      throw inUse('ERR_ADDRESS_IN_USE', `address ${address}`, 'virtual address');
    }
  }
  await refuseOverlap(links, Object.values(options.prefixes), old?.index, call);
  const routes = await links.routes(call);
  if (old !== undefined) await links.deleteLink(old.index, call);
  return {
    ownsInterface: (index) => index === old?.index || all.every((link) => link.index !== index),
    isFirst: routes.every(({ protocol }) => protocol !== ROUTE_PROTOCOL),
  };
}

/**
 * Makes the interface; the fallback routes come first and the routes to it last, so that at no
 * moment a packet for the service can take the default route.
 *
 * @returns its index.
 * @throws DataPlaneError `ERR_NO_ESP` if the kernel has no xfrm interfaces.
 */
export async function build(
  links: LinkClient,
  options: InterfaceOptions,
  call: CallOptions,
): Promise<number> {
  const { interfaceName: name, ifId, mtu } = options;
  for (const route of fallbacks(options)) await addUnlessThere(links, route, call);
  try {
    await links.addXfrmLink({ name, ifId, mtu, group: INTERFACE_GROUP }, call);
  } catch (error) {
    if (error instanceof LinkError && error.errnoName === 'EOPNOTSUPP') {
      throw noEsp('xfrm interface', error);
    }
    throw error;
  }
  const link = await links.findLink(name, call);
  if (link === undefined) throw inUse('ERR_INTERFACE_IN_USE', `interface ${name}`, 'name');
  const { index } = link;
  await links.setNoLinkLocal(index, call);
  for (const address of Object.values(options.virtualAddresses)) {
    await links.addAddress(index, address, call);
  }
  await links.setUp(index, call);
  for (const family of ['ipv6', 'ipv4'] as const) {
    const route = {
      destination: options.prefixes[family],
      interfaceIndex: index,
      preferredSource: options.virtualAddresses[family],
      protocol: ROUTE_PROTOCOL,
    };
    await links.addRoute(route, call);
  }
  return index;
}

/** Takes interface and fallback routes away, as far as they are there. */
export async function dismantle(
  links: LinkClient,
  options: InterfaceOptions,
  call: CallOptions,
): Promise<void> {
  const link = await links.findLink(options.interfaceName, call);
  if (link !== undefined && isOurs(link, options)) await links.deleteLink(link.index, call);
  for (const route of fallbacks(options)) await removeIfThere(links.deleteRoute(route, call));
}

/** Where the interface is gone, packets for the service are refused rather than sent elsewhere in clear. */
function fallbacks({ prefixes }: InterfaceOptions): Route[] {
  return [prefixes.ipv6, prefixes.ipv4].map((destination) => ({
    destination,
    type: 'unreachable',
    metric: LAST_METRIC,
    protocol: ROUTE_PROTOCOL,
  }));
}

/** @param removal of a route or rule */
export async function removeIfThere(removal: Promise<void>): Promise<void> {
  try {
    await removal;
  } catch (error) {
    if (!(error instanceof LinkError && GONE.includes(error.errnoName))) throw error;
  }
}

/** Of a route, of a rule, and of a route whose interface is gone. */
const GONE = ['ESRCH', 'ENOENT', 'ENODEV'];

export async function addUnlessThere(
  links: LinkClient,
  route: Route,
  call: CallOptions,
): Promise<void> {
  try {
    await links.addRoute(route, call);
  } catch (error) {
    if (!(error instanceof LinkError && error.errnoName === 'EEXIST')) throw error;
  }
}
