/**
 * The service's routing rules, and the routes in its own table, as data.
 *
 * ```
 *  0      local                                    the kernel's
 *  70, 71 a gateway's own: by where a packet comes in (site-table.ts)
 *  72     to a prefix of the service ──▶ table:    prefix ─▶ icvpn0
 *  73     to a subnet of a peer ───────▶ main:     only routes as near as the subnet, or nearer
 *  74     to a subnet of a peer ───────▶ table:    subnet ─▶ icvpn0
 *  75     to either ───────────────────▶ unreachable
 *  …      Tailscale's from 5,210, wg-quick's from 32,764, main at 32,766
 * ```
 *
 * So no route elsewhere leads the service's packets away, and where its own are missing they are refused. A subnet of a
 * peer yields to the machine's own network of the same or a smaller size, as routes in one table would.
 */
import type { Route } from '../link/codec.ts';
import { RT_TABLE_MAIN } from '../link/kernel.ts';
import type { Rule } from '../link/rule-codec.ts';
import { canonicalAddress, canonicalPrefix } from '../xfrm/address.ts';
import type { InterfaceOptions } from './interface.ts';

/** RTPROT number of our routes and rules, one that iproute2 has no name for. */
export const ROUTE_PROTOCOL = 73;
/** Behind every other route. */
export const LAST_METRIC = 0xffff_ffff;
/** Preferences of routing rules: lower ones are asked first. */
export const PREFERENCE = {
  site: 70,
  siteRefusal: 71,
  service: 72,
  nearer: 73,
  subnet: 74,
  fallback: 75,
} as const;

/** Above the numbers that people and the kernel use, and other than that of a gateway's own table. */
export const serviceTable = (ifId: number): number => ((ifId & ~0x4000_0000) | 0x8000_0000) >>> 0;

const familyOf = (cidr: string) => (cidr.includes(':') ? 'ipv6' : 'ipv4');

function rule(destination: string, rest: Omit<Rule, 'family' | 'protocol' | 'destination'>): Rule {
  return { family: familyOf(destination), destination, protocol: ROUTE_PROTOCOL, ...rest };
}

const fallback = (destination: string, table: number): Rule =>
  rule(destination, { priority: PREFERENCE.fallback, action: 'unreachable', table });

/** Of the service's prefixes: the refusals first. */
export function prefixRules({ ifId, prefixes }: InterfaceOptions): Rule[] {
  const table = serviceTable(ifId);
  const all = [prefixes.ipv6, prefixes.ipv4].map(canonicalPrefix);
  return [
    ...all.map((each) => fallback(each, table)),
    ...all.map((each) => rule(each, { priority: PREFERENCE.service, action: 'lookup', table })),
  ];
}

/** Of a subnet that is, or was, behind a peer: the refusal first. */
export function subnetRules(subnet: string, { ifId }: InterfaceOptions): Rule[] {
  const table = serviceTable(ifId);
  const length = Number(subnet.split('/')[1]);
  return [
    fallback(subnet, table),
    rule(subnet, {
      ...{ priority: PREFERENCE.nearer, action: 'lookup', table: RT_TABLE_MAIN },
      suppressPrefixLength: length === 0 ? undefined : length - 1,
    }),
    rule(subnet, { priority: PREFERENCE.subnet, action: 'lookup', table }),
  ];
}

/** @param index of the service's interface */
export function serviceRoute(
  destination: string,
  { ifId, virtualAddresses }: InterfaceOptions,
  index: number,
): Route {
  return {
    destination: canonicalPrefix(destination),
    interfaceIndex: index,
    preferredSource: canonicalAddress(virtualAddresses[familyOf(destination)]),
    table: serviceTable(ifId),
    protocol: ROUTE_PROTOCOL,
  };
}

/** Whether a rule is one of this service, by its table; {@link subnetRules} has one without such a mark. */
export const isServiceRule = ({ protocol, table }: Rule, ifId: number): boolean =>
  protocol === ROUTE_PROTOCOL && table === serviceTable(ifId);

export const sameRule = (one: Rule, other: Rule): boolean =>
  one.family === other.family &&
  one.priority === other.priority &&
  one.action === other.action &&
  one.table === other.table &&
  one.source === other.source &&
  one.destination === other.destination &&
  one.inputInterface === other.inputInterface &&
  one.suppressPrefixLength === other.suppressPrefixLength;
