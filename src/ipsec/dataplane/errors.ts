import { IcvpnError } from '../../errors.ts';

/** The data plane cannot do what was asked; nothing was left half done. */
export class DataPlaneError extends IcvpnError {}

/** Who called names a peer that is not there, or one that is. */
export const unknownPeer = (): DataPlaneError =>
  new DataPlaneError('ERR_UNKNOWN_PEER', 'no such peer in the data plane', 'Add the peer first.');

export const peerExists = (): DataPlaneError =>
  new DataPlaneError('ERR_PEER_EXISTS', 'the peer is there already', 'Remove it first.');

export const addressTaken = (address: string, by: string): DataPlaneError =>
  new DataPlaneError(
    'ERR_PEER_ADDRESS',
    `the virtual address ${address} is that of ${by}`,
    'A peer needs addresses of its own: it gets others when it renews its credential.',
  );

export const planeClosed = (): DataPlaneError =>
  new DataPlaneError('ERR_DATA_PLANE_CLOSED', 'the data plane is closed', 'Open a new one.');

export const notRoot = (cause: unknown): DataPlaneError =>
  new DataPlaneError(
    'ERR_NOT_ROOT',
    'no permission to configure IPsec in the kernel',
    'Run as root, or with the capability CAP_NET_ADMIN.',
    { cause },
  );

export const noEsp = (missing: string, cause: unknown): DataPlaneError =>
  new DataPlaneError(
    'ERR_NO_ESP',
    `this kernel has no ${missing}`,
    'Load the modules esp4, esp6, aesni_intel or gcm, and xfrm_interface, or use a kernel that has them (Linux 5.7 and newer).',
    { cause },
  );

export const inUse = (code: string, what: string, option: string): DataPlaneError =>
  new DataPlaneError(
    code,
    `${what} is in use`,
    `Choose another ${option}, or remove what uses it.`,
  );

/** @param what an address or a route, and the prefix */
export const prefixOverlap = (what: string): DataPlaneError =>
  new DataPlaneError(
    'ERR_PREFIX_IN_USE',
    what,
    'Give the service a prefix that no address or route of its machines lies in (icvpn service create --ipv4; docs/addresses.md says how to choose), or remove what overlaps.',
  );

export const notForwarding = (sysctl: string): DataPlaneError =>
  new DataPlaneError(
    'ERR_NO_FORWARDING',
    `a subnet is to be reached through this machine, which does not forward packets: ${sysctl} is 0`,
    `Run sysctl -w ${sysctl}=1, and write ${sysctl}=1 to a file in /etc/sysctl.d.`,
  );

export const noSuchInterface = (name: string): DataPlaneError =>
  new DataPlaneError(
    'ERR_SUBNET_INTERFACE',
    `there is no interface ${name} for a subnet to be behind`,
    'Correct --subnet-interface, or bring the interface up first.',
  );

export const noWayToSubnet = (subnet: string, interfaces: readonly string[]): DataPlaneError =>
  new DataPlaneError(
    'ERR_SUBNET_NOT_HERE',
    `no route leads to ${subnet} by ${interfaces.join(' or ') || 'any interface'}`,
    'Give the interface an address in the subnet, or add a route to it, before icvpn starts.',
  );

export const ambiguousSubnet = (subnet: string): DataPlaneError =>
  new DataPlaneError(
    'ERR_SUBNET_AMBIGUOUS',
    `routes lead to ${subnet} by more than one interface`,
    'Name the one that the subnet is behind: --subnet-interface.',
  );

export const overlappingSubnets = (one: string, other: string): DataPlaneError =>
  new DataPlaneError(
    'ERR_SUBNET_OVERLAP',
    `the subnet ${one} and ${other} have addresses in common`,
    "Announce subnets that do not overlap each other nor the service's own prefix.",
  );

export const ipv6Off = (how: string, remedy: string): DataPlaneError =>
  new DataPlaneError(
    'ERR_IPV6_OFF',
    `IPv6 is off on this machine (${how}), and each member has a virtual IPv6 address`,
    remedy,
  );
