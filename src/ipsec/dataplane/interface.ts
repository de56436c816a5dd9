/** The service's xfrm interface with its addresses: made, recognised, repaired, taken away. */
import { overlap, parseSubnet } from '../../policy/subnet.ts';
import type { LinkClient } from '../link/client.ts';
import type { Link } from '../link/codec.ts';
import { LinkError } from '../link/errors.ts';
import type { CallOptions } from '../netlink/inflight.ts';
import { canonicalAddress, canonicalPrefix } from '../xfrm/address.ts';
import { inUse, noEsp } from './errors.ts';
import { refuseOverlap } from './overlap.ts';
import type { VirtualAddresses } from './peer.ts';
import { isServiceRule, PREFERENCE, ROUTE_PROTOCOL } from './routing.ts';
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
/** Whether `link` was made by an icvpn for this service. */
function isOurs(
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
  /** What an earlier run left. */
  readonly old: Link | undefined;
  /** Whether an interface is that of the service, or none that there is. */
  readonly ownsInterface: (index: number) => boolean;
  /** No data plane is there, and nothing of one that was killed. */
  readonly isFirst: boolean;
}

/**
 * Looks whether the service can have what it needs. Changes nothing.
 *
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
  await checkServices(links, options, call);
  return {
    old,
    ownsInterface: (index) => index === old?.index || all.every((link) => link.index !== index),
    isFirst: all.every(({ group }) => group !== INTERFACE_GROUP),
  };
}

/** Another service of this machine has a part of the prefixes, or has had it and still refuses what goes there. */
async function checkServices(
  links: LinkClient,
  { prefixes, ifId }: InterfaceOptions,
  call: CallOptions,
): Promise<void> {
  const own = Object.values(prefixes).map((each) => parseSubnet(canonicalPrefix(each)));
  for (const rule of await links.rules(call)) {
    const { protocol, priority, destination } = rule;
    if (protocol !== ROUTE_PROTOCOL || priority !== PREFERENCE.service) continue;
    if (destination === undefined || isServiceRule(rule, ifId)) continue;
    if (own.some((each) => overlap(each, parseSubnet(destination)))) {
      throw inUse('ERR_PREFIX_IN_USE', `prefix ${destination}, by another service,`, 'prefix');
    }
  }
}

/** What an interface was found to lack, in words. */
export interface Ensured {
  readonly index: number;
  readonly repaired: readonly string[];
}

/**
 * Makes the interface as it has to be, as far as it is not: there, with its addresses, up.
 *
 * @param index that it had before, and shall have again: routes and policies name it
 * @throws DataPlaneError `ERR_NO_ESP` if the kernel has no xfrm interfaces, `ERR_INTERFACE_IN_USE`; LinkError
 */
export async function ensureInterface(
  links: LinkClient,
  options: InterfaceOptions,
  index: number | undefined,
  call: CallOptions,
): Promise<Ensured> {
  const { interfaceName: name } = options;
  const repaired: string[] = [];
  let link = await links.findLink(name, call);
  if (link !== undefined && (!isOurs(link, options) || link.index !== (index ?? link.index))) {
    throw inUse('ERR_INTERFACE_IN_USE', `interface ${name}`, 'interface name');
  }
  if (link === undefined) {
    link = await make(links, options, index, call);
    repaired.push(`interface ${name}`);
  }
  const present = (await links.addresses(call)).filter(
    ({ interfaceIndex }) => interfaceIndex === link.index,
  );
  for (const address of Object.values(options.virtualAddresses).map(canonicalAddress)) {
    if (present.some((each) => each.address === address)) continue;
    await links.addAddress(link.index, address, call);
    repaired.push(`address ${address}`);
  }
  if (!link.up) {
    await links.setUp(link.index, call);
    repaired.push(`interface ${name} up`);
  }
  return { index: link.index, repaired };
}

async function make(
  links: LinkClient,
  { interfaceName: name, ifId, mtu }: InterfaceOptions,
  index: number | undefined,
  call: CallOptions,
): Promise<Link> {
  // Under another name it would hold the if_id, and the index.
  const renamed = (await links.links(call)).find(
    (link) => link.index === index && link.ifId === ifId && link.group === INTERFACE_GROUP,
  );
  if (renamed !== undefined) await links.deleteLink(renamed.index, call);
  try {
    const spec = { name, ifId, mtu, group: INTERFACE_GROUP };
    await links.addXfrmLink({ ...spec, ...(index !== undefined && { index }) }, call);
  } catch (error) {
    if (error instanceof LinkError && error.errnoName === 'EOPNOTSUPP') {
      throw noEsp('xfrm interface', error);
    }
    throw error;
  }
  const link = await links.findLink(name, call);
  if (link === undefined) throw inUse('ERR_INTERFACE_IN_USE', `interface ${name}`, 'name');
  await links.setNoLinkLocal(link.index, call);
  return link;
}

/** Takes the interface away, with its addresses and routes, if it is there. */
export async function removeInterface(
  links: LinkClient,
  options: InterfaceOptions,
  call: CallOptions,
): Promise<void> {
  const link = await links.findLink(options.interfaceName, call);
  if (link !== undefined && isOurs(link, options)) await links.deleteLink(link.index, call);
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

/** @param addition of a route or rule. @returns whether it was not there */
export async function addUnlessThere(addition: Promise<void>): Promise<boolean> {
  try {
    await addition;
    return true;
  } catch (error) {
    if (!(error instanceof LinkError && error.errnoName === 'EEXIST')) throw error;
    return false;
  }
}
