/**
 * A gateway's ways between the subnets behind it and those behind others, in a table of the service's own, so that
 * another service may have the same subnets at both ends.
 *
 * ```
 *  from own subnet, in by its interface ─▶ table:  remote subnet ─▶ icvpn0, else unreachable
 *  in by icvpn0 ─────────────────────────▶ table:  own subnet ─▶ its interface
 *  in by icvpn0, anywhere else ──────────▶ refused
 * ```
 *
 * How own subnets are reached is what the machine's main table says, at the start and whenever that changes.
 */
import { overlap, parseSubnet } from '../../policy/subnet.ts';
import type { LinkClient } from '../link/client.ts';
import type { Route } from '../link/codec.ts';
import { LinkError } from '../link/errors.ts';
import type { Rule } from '../link/rule-codec.ts';
import type { CallOptions } from '../netlink/inflight.ts';
import { inUse, noSuchInterface, noWayToSubnet } from './errors.ts';
import { addUnlessThere, type InterfaceOptions, removeIfThere } from './interface.ts';
import { PREFERENCE, ROUTE_PROTOCOL } from './routing.ts';
import { siteOf } from './site.ts';
import { waysTo } from './site-routes.ts';

const NOT_UP = ['ENETDOWN', 'ENODEV'];

/** How own subnets are reached. */
interface Ways {
  readonly routes: readonly Route[];
  /** Interfaces that are not there. */
  readonly missing: readonly string[];
  /** Subnets to which nothing leads. */
  readonly stranded: readonly string[];
}

/** Above the numbers that people and the kernel use. */
export const siteTable = (ifId: number): number => (ifId | 0x4000_0000) >>> 0;

export class SiteTable {
  readonly #links: LinkClient;
  readonly #options: InterfaceOptions;
  /** As they were when somebody was told last. */
  #told: readonly Route[] = [];

  constructor(links: LinkClient, options: InterfaceOptions) {
    this.#links = links;
    this.#options = options;
  }

  get number(): number {
    return siteTable(this.#options.ifId);
  }

  /**
   * Nothing where there are no own subnets.
   *
   * @throws DataPlaneError `ERR_SUBNET_INTERFACE`, `ERR_SUBNET_NOT_HERE`, `ERR_SUBNET_IN_USE`; LinkError
   */
  async build(call: CallOptions): Promise<void> {
    const { subnets, interfaces } = siteOf(this.#options);
    if (subnets.length === 0) return;
    const { routes, missing, stranded } = await this.#ways(call);
    if (missing[0] !== undefined) throw noSuchInterface(missing[0]);
    if (stranded[0] !== undefined) throw noWayToSubnet(stranded[0], interfaces);
    // Where a route of the machine has just changed, `follow` may have come first.
    for (const route of routes) await addUnlessThere(this.#links.addRoute(route, call));
    this.#told = routes;
    const others = (await this.#links.rules(call)).filter(
      ({ protocol }) => protocol === ROUTE_PROTOCOL,
    );
    for (const rule of this.rules()) {
      const other = others.find((each) => shared(each, rule));
      if (other !== undefined) {
        const what = `${other.source} behind ${other.inputInterface}, by another service,`;
        throw inUse('ERR_SUBNET_IN_USE', what, 'subnet or subnet interface');
      }
      await addUnlessThere(this.#links.addRule(rule, call));
    }
  }

  /**
   * Makes the ways to own subnets those of the main table. What was reached in another way before is refused
   * for the moment between; what went with its interface the kernel has removed already.
   *
   * @returns own subnets to which nothing leads now; undefined if nothing has changed
   */
  async follow(): Promise<readonly string[] | undefined> {
    const { routes, stranded } = await this.#ways({});
    const { subnets } = siteOf(this.#options);
    const present = (await this.#links.routes({ table: this.number })).filter(({ destination }) =>
      subnets.some((each) => overlap(parseSubnet(each), parseSubnet(destination))),
    );
    const gone = present.filter((each) => !isAmong(each, routes));
    const fresh = routes.filter((each) => !isAmong(each, present));
    for (const route of gone) await removeIfThere(this.#links.deleteRoute(route));
    for (const route of fresh) await this.#addIfUp(route);
    const told = this.#told;
    this.#told = routes;
    const same = told.length === routes.length && routes.every((each) => isAmong(each, told));
    return same ? undefined : stranded;
  }

  /** An interface that has gone down since the routes were read tells of itself, and is followed then. */
  async #addIfUp(route: Route): Promise<void> {
    try {
      await addUnlessThere(this.#links.addRoute(route));
    } catch (error) {
      if (!(error instanceof LinkError && NOT_UP.includes(error.errnoName))) throw error;
    }
  }

  /** Takes rules and routes away, whatever run they are of. */
  async clear(call: CallOptions): Promise<void> {
    const table = this.number;
    for (const rule of await this.#links.rules(call)) {
      const unmarked =
        rule.table === undefined && rule.inputInterface === this.#options.interfaceName;
      const ours = rule.protocol === ROUTE_PROTOCOL && (rule.table === table || unmarked);
      if (ours) await removeIfThere(this.#links.deleteRule(rule, call));
    }
    for (const route of await this.#links.routes({ ...call, table })) {
      await removeIfThere(this.#links.deleteRoute(route, call));
    }
  }

  /** The refusals first. None where there are no own subnets. */
  rules(): Rule[] {
    const { interfaceName: inputInterface } = this.#options;
    const { subnets, interfaces } = siteOf(this.#options);
    if (subnets.length === 0) return [];
    const table = this.number;
    const common = { protocol: ROUTE_PROTOCOL, table, priority: PREFERENCE.site } as const;
    const refusal = { ...common, priority: PREFERENCE.siteRefusal, action: 'unreachable' } as const;
    return [
      ...(['ipv4', 'ipv6'] as const).flatMap((family) => [
        { ...refusal, family, inputInterface },
        { ...common, family, inputInterface, action: 'lookup' as const },
      ]),
      ...subnets.flatMap((source) =>
        interfaces.map((inputInterface) => {
          const family = source.includes(':') ? ('ipv6' as const) : ('ipv4' as const);
          return { ...common, family, source, inputInterface, action: 'lookup' as const };
        }),
      ),
    ];
  }

  async #ways(call: CallOptions): Promise<Ways> {
    const { subnets, interfaces } = siteOf(this.#options);
    const links = await this.#links.links(call);
    const indices = links.filter(({ name }) => interfaces.includes(name)).map(({ index }) => index);
    const usable = (await this.#links.routes(call)).filter(
      ({ type, interfaceIndex = 0 }) => type === 'unicast' && indices.includes(interfaceIndex),
    );
    const ways = subnets.map((subnet) => ({ subnet, found: waysTo(subnet, usable) }));
    const own = { table: this.number, protocol: ROUTE_PROTOCOL };
    return {
      routes: ways.flatMap(({ found }) =>
        found.map(({ destination, interfaceIndex, gateway }) => ({
          ...{ destination, interfaceIndex, gateway, ...own },
        })),
      ),
      missing: interfaces.filter((name) => links.every((link) => link.name !== name)),
      stranded: ways.filter(({ found }) => found.length === 0).map(({ subnet }) => subnet),
    };
  }
}

const isAmong = (one: Route, all: readonly Route[]): boolean =>
  all.some(
    (other) =>
      one.destination === other.destination &&
      one.interfaceIndex === other.interfaceIndex &&
      one.gateway === other.gateway,
  );

/** Whether packets could follow the rules of two services. */
function shared(one: Rule, other: Rule): boolean {
  if (one.source === undefined || other.source === undefined) return false;
  const [a, b] = [parseSubnet(one.source), parseSubnet(other.source)];
  return one.inputInterface === other.inputInterface && one.table !== other.table && overlap(a, b);
}
