/** Bodies of the rtnetlink messages for interfaces, addresses and routes. */
import { ValueError } from '../netlink/errors.ts';
import { attribute, concat, decodeAttributes, decodeText, nested } from '../netlink/framing.ts';
import { struct, u8, u32 } from '../netlink/struct.ts';
import { type Family, formatAddress, parseAddress, parsePrefix } from '../xfrm/address.ts';
import { get, put } from '../xfrm/attributes.ts';
import { AF_INET, AF_INET6, AF_UNSPEC } from '../xfrm/kernel/constants.ts';
import {
  IFA,
  IFA_F_DADFAILED,
  IFA_F_DEPRECATED,
  IFA_F_NODAD,
  IFA_F_TENTATIVE,
  IFF_UP,
  IFLA,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_INFO,
  IFLA_XFRM,
  IN6_ADDR_GEN_MODE_NONE,
  ifaddrmsg,
  ifinfomsg,
  RT_SCOPE_LINK,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_MAIN,
  RT_TABLE_UNSPEC,
  RTA,
  routeTypes,
  rtmsg,
} from './kernel.ts';

/** An xfrm interface to be made. */
export interface XfrmLinkSpec {
  /** 1 to 15 bytes. */
  readonly name: string;
  /** Ties states and policies to it; not 0. */
  readonly ifId: number;
  readonly mtu: number;
  /** Interface group, by which an owner knows its own again. */
  readonly group: number;
  /** The kernel chooses one if left out. */
  readonly index?: number;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly mtu: number;
  readonly group: number;
  /** `xfrm`, `veth`, ...; undefined for hardware. */
  readonly kind: string | undefined;
  /** Of an xfrm interface. */
  readonly ifId: number | undefined;
}

export interface InterfaceAddress {
  readonly address: string;
  readonly prefixLength: number;
  readonly interfaceIndex: number;
  /** 0 global, 253 link, 254 host. */
  readonly scope: number;
  /** It may be used as a source: not tentative, deprecated or a duplicate. */
  readonly usable: boolean;
}

export interface Route {
  /** CIDR. */
  readonly destination: string;
  readonly type?: keyof typeof routeTypes | undefined;
  readonly interfaceIndex?: number | undefined;
  /** The next router, on the interface's own network. */
  readonly gateway?: string | undefined;
  /** Routing table; the main one if left out. */
  readonly table?: number | undefined;
  /** Source address that programs without one of their own get. */
  readonly preferredSource?: string | undefined;
  /** The lowest wins. */
  readonly metric?: number | undefined;
  /** Who made it (RTPROT_*). */
  readonly protocol: number;
}

const header = (index: number, flags = 0, change = 0): Uint8Array =>
  ifinfomsg.encode({ family: AF_UNSPEC, type: 0, index, flags, change });

function nameAttribute(name: string): Uint8Array {
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(name) || name === '.' || name === '..') {
    throw new ValueError('interface name', '1 to 15 letters, digits, dots, hyphens or underscores');
  }
  return attribute(IFLA.IFNAME, Buffer.from(`${name}\0`));
}

export function encodeNewXfrmLink({ name, ifId, mtu, group, index = 0 }: XfrmLinkSpec): Uint8Array {
  const number = (type: number, value: number): Uint8Array[] => put(type, 'u32', value);
  return concat([
    header(index),
    nameAttribute(name),
    ...number(IFLA.MTU, mtu),
    ...number(IFLA.GROUP, group),
    nested(IFLA.LINKINFO, [
      attribute(IFLA_INFO.KIND, Buffer.from('xfrm\0')),
      nested(IFLA_INFO.DATA, number(IFLA_XFRM.IF_ID, ifId)),
    ]),
  ]);
}

export const encodeLinkUp = (index: number): Uint8Array => header(index, IFF_UP, IFF_UP);

export const encodeLinkMtu = (index: number, mtu: number): Uint8Array =>
  concat([header(index), ...put(IFLA.MTU, 'u32', mtu)]);

/** No IPv6 link-local address of its own accord. */
export function encodeNoLinkLocal(index: number): Uint8Array {
  const mode = put(IFLA_INET6_ADDR_GEN_MODE, 'u8', IN6_ADDR_GEN_MODE_NONE);
  return concat([header(index), nested(IFLA.AF_SPEC, [nested(AF_INET6, mode)])]);
}

export const encodeLinkIndex = (index: number): Uint8Array => header(index);

export const encodeLinkName = (name: string): Uint8Array =>
  concat([header(0), nameAttribute(name)]);

/** @throws MalformedError */
export function decodeLink(body: Uint8Array): Link {
  const { index, flags } = ifinfomsg.decode(body);
  const attributes = decodeAttributes(body.subarray(ifinfomsg.size), IFLA.PAD);
  const info = decodeAttributes(attributes.get(IFLA.LINKINFO) ?? new Uint8Array());
  const kind = info.get(IFLA_INFO.KIND);
  const kindName = kind && decodeText(kind);
  const data = info.get(IFLA_INFO.DATA);
  const xfrm = kindName === 'xfrm' && data ? decodeAttributes(data) : undefined;
  const name = attributes.get(IFLA.IFNAME);
  return {
    index,
    name: name ? decodeText(name) : '',
    up: (flags & IFF_UP) !== 0,
    mtu: get(attributes, IFLA.MTU, 'u32') ?? 0,
    group: get(attributes, IFLA.GROUP, 'u32') ?? 0,
    kind: kindName,
    ifId: xfrm && get(xfrm, IFLA_XFRM.IF_ID, 'u32'),
  };
}

/** The bytes of an address on the wire: 4 or 16. */
function wire(text: string, field: string): { family: Family; bytes: Uint8Array } {
  const { family, bytes } = parseAddress(text, field);
  return { family, bytes: family === AF_INET ? bytes.subarray(0, 4) : bytes };
}

/** A single address, without a prefix of neighbours. */
export function encodeAddress(index: number, address: string): Uint8Array {
  const { family, bytes } = wire(address, 'address');
  const head = ifaddrmsg.encode({
    family,
    prefixLength: bytes.length * 8,
    flags: IFA_F_NODAD,
    scope: RT_SCOPE_UNIVERSE,
    index,
  });
  return concat([head, attribute(IFA.LOCAL, bytes), attribute(IFA.ADDRESS, bytes)]);
}

export const encodeAddressDump = (): Uint8Array =>
  ifaddrmsg.encode({ family: AF_UNSPEC, prefixLength: 0, flags: 0, scope: 0, index: 0 });

/** Undefined if it is of another family. @throws MalformedError */
export function decodeAddress(body: Uint8Array): InterfaceAddress | undefined {
  const head = ifaddrmsg.decode(body);
  if (head.family !== AF_INET && head.family !== AF_INET6) return undefined;
  const attributes = decodeAttributes(body.subarray(ifaddrmsg.size));
  // Of a point-to-point interface ADDRESS is the other end.
  const raw = attributes.get(IFA.LOCAL) ?? attributes.get(IFA.ADDRESS);
  if (raw === undefined) return undefined;
  const flags = get(attributes, IFA.FLAGS, 'u32') ?? head.flags;
  const unusable = IFA_F_TENTATIVE | IFA_F_DEPRECATED | IFA_F_DADFAILED;
  return {
    address: formatAddress(head.family, fixed(head.family, raw)),
    prefixLength: head.prefixLength,
    interfaceIndex: head.index,
    scope: head.scope,
    usable: (flags & unusable) === 0,
  };
}

const address4 = struct('address', 4, { a: [0, u32] });
const address16 = struct('address', 16, { last: [15, u8] });

/** @throws MalformedError if there are too few bytes for the family. */
export function fixed(family: Family, raw: Uint8Array): Uint8Array {
  const shape = family === AF_INET ? address4 : address16;
  shape.decode(raw);
  return raw.subarray(0, shape.size);
}

export function encodeRoute(route: Route): Uint8Array {
  const { family, bytes, length } = parsePrefix(route.destination, 'route.destination');
  const type = route.type ?? 'unicast';
  const size = family === AF_INET ? 4 : 16;
  const { gateway, table } = route;
  const link = type === 'unicast' && family === AF_INET && gateway === undefined;
  const head = rtmsg.encode({
    family,
    dstLength: length,
    srcLength: 0,
    tos: 0,
    table: table === undefined ? RT_TABLE_MAIN : RT_TABLE_UNSPEC,
    protocol: route.protocol,
    scope: link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
    type: routeTypes[type],
    flags: 0,
  });
  const source = route.preferredSource;
  return concat([
    head,
    attribute(RTA.DST, bytes.subarray(0, size)),
    ...put(RTA.OIF, 'u32', route.interfaceIndex),
    ...put(RTA.TABLE, 'u32', table),
    ...(gateway ? [attribute(RTA.GATEWAY, wire(gateway, 'route.gateway').bytes)] : []),
    ...(source ? [attribute(RTA.PREFSRC, wire(source, 'route.preferredSource').bytes)] : []),
    ...put(RTA.PRIORITY, 'u32', route.metric),
  ]);
}

export function encodeRouteDump(family: Family): Uint8Array {
  return rtmsg.encode({
    family,
    dstLength: 0,
    srcLength: 0,
    tos: 0,
    table: 0,
    protocol: 0,
    scope: 0,
    type: 0,
    flags: 0,
  });
}

/** Undefined if it is of another family, or of a type that is not ours to make. @throws MalformedError */
export function decodeRoute(body: Uint8Array): Route | undefined {
  const head = rtmsg.decode(body);
  const { family } = head;
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const attributes = decodeAttributes(body.subarray(rtmsg.size));
  const table = get(attributes, RTA.TABLE, 'u32') ?? head.table;
  const types: readonly (keyof typeof routeTypes)[] = [
    'unicast',
    'blackhole',
    'unreachable',
    'prohibit',
  ];
  const type = types.find((name) => routeTypes[name] === head.type);
  if (type === undefined) return undefined;
  const destination = attributes.get(RTA.DST) ?? new Uint8Array(16);
  const source = attributes.get(RTA.PREFSRC);
  const gateway = attributes.get(RTA.GATEWAY);
  return {
    destination: `${formatAddress(family, fixed(family, destination))}/${head.dstLength}`,
    type,
    interfaceIndex: get(attributes, RTA.OIF, 'u32'),
    gateway: gateway && formatAddress(family, fixed(family, gateway)),
    table: table === RT_TABLE_MAIN ? undefined : table,
    preferredSource: source && formatAddress(family, fixed(family, source)),
    metric: get(attributes, RTA.PRIORITY, 'u32'),
    protocol: head.protocol,
  };
}
