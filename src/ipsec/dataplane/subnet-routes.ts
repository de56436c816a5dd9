/**
 * The ways to subnets behind other gateways, and between those and the subnets behind this one.
 *
 * ```
 *  this machine's programs ─▶ main table:  remote subnet ─▶ icvpn0
 *                                          remote subnet unreachable, behind all others
 *
 *  only at a gateway, in a table of the service's own, so that another service may have the same subnets:
 *
 *  from own subnet, in by its interface ─▶ table:  remote subnet ─▶ icvpn0, else unreachable
 *  in by icvpn0 ─────────────────────────▶ table:  own subnet ─▶ its interface
 *  in by icvpn0, anywhere else ──────────▶ refused
 * ```
 *
 * A subnet that was routed to the service once stays unreachable by other ways until the data plane
 * closes: its gateway may only be restarting, and meanwhile nothing is to leave in clear.
 */
import { overlap, parseSubnet } from '../../policy/subnet.ts';
import type { LinkClient } from '../link/client.ts';
import type { Route } from '../link/codec.ts';
import type { Rule } from '../link/rule-codec.ts';
import type { CallOptions } from '../netlink/inflight.ts';
import { inUse, noSuchInterface, noWayToSubnet } from './errors.ts';
import {
  addUnlessThere,
  type InterfaceOptions,
  ROUTE_PROTOCOL,
  removeIfThere,
} from './interface.ts';
import { siteOf } from './site.ts';
import { waysTo } from './site-routes.ts';

/** "iv": before the main table's rule, behind the local one's. */
const RULE_PRIORITY = 0x6976;
/** Subnets that are kept unreachable; the one that was left first goes when there are more. */
const MAX_KEPT = 1_024;

export class SubnetRoutes {
  readonly #links: LinkClient;
  readonly #options: InterfaceOptions;
  readonly #index: number;
  /** Subnets, and whether each is routed now, in the order in which they came. */
  readonly #known = new Map<string, boolean>();

  private constructor(links: LinkClient, options: InterfaceOptions, index: number) {
    this.#links = links;
    this.#options = options;
    this.#index = index;
  }

  /**
   * Takes over what an earlier run left, and builds the table of a gateway.
   *
   * @param index of the service's interface
   * @throws DataPlaneError `ERR_SUBNET_INTERFACE`, `ERR_SUBNET_NOT_HERE`, `ERR_SUBNET_IN_USE`; LinkError
   */
  static async open(
    links: LinkClient,
    options: InterfaceOptions,
    index: number,
    call: CallOptions,
  ): Promise<SubnetRoutes> {
    const routes = new SubnetRoutes(links, options, index);
    await routes.#clear(call);
    for (const { destination, protocol, metric } of await links.routes(call)) {
      const ours = protocol === ROUTE_PROTOCOL && metric === routes.#metric;
      if (ours) routes.#known.set(destination, false);
    }
    try {
      await routes.#build(call);
    } catch (error) {
      await routes.#clear({});
      throw error;
    }
    return routes;
  }

  /** @returns whether this machine's own programs reach it too: not where it has a route of its own there */
  async add(subnet: string): Promise<boolean> {
    this.#known.delete(subnet);
    this.#known.set(subnet, true);
    await addUnlessThere(this.#links, this.#fallback(subnet), {});
    await this.#forget();
    if (this.#isGateway) {
      const table = this.#table;
      await addUnlessThere(this.#links, { ...this.#fallback(subnet), table }, {});
      await addUnlessThere(this.#links, { ...this.#route(subnet), table }, {});
    }
    if (await this.#isTaken(subnet)) return false;
    const { virtualAddresses } = this.#options;
    const preferredSource = virtualAddresses[subnet.includes(':') ? 'ipv6' : 'ipv4'];
    await addUnlessThere(this.#links, { ...this.#route(subnet), preferredSource }, {});
    return true;
  }

  async remove(subnet: string): Promise<void> {
    this.#known.set(subnet, false);
    await removeIfThere(this.#links.deleteRoute(this.#route(subnet)));
    if (!this.#isGateway) return;
    const table = this.#table;
    await removeIfThere(this.#links.deleteRoute({ ...this.#route(subnet), table }));
    // What is unreachable in the main table is so here too.
    await removeIfThere(this.#links.deleteRoute({ ...this.#fallback(subnet), table }));
  }

  /** The routes to the interface go with it. */
  async close(): Promise<void> {
    await this.#clear({});
    for (const subnet of this.#known.keys()) {
      await removeIfThere(this.#links.deleteRoute(this.#fallback(subnet)));
    }
  }

  get #isGateway(): boolean {
    return siteOf(this.#options).subnets.length > 0;
  }

  /** Of the fallback routes: it tells whose they are. */
  get #metric(): number {
    return (this.#options.ifId | 0x8000_0000) >>> 0;
  }

  /** Above the numbers that people and the kernel use. */
  get #table(): number {
    return (this.#options.ifId | 0x4000_0000) >>> 0;
  }

  #route(destination: string): Route {
    return { destination, interfaceIndex: this.#index, protocol: ROUTE_PROTOCOL };
  }

  #fallback(destination: string): Route {
    return { destination, type: 'unreachable', metric: this.#metric, protocol: ROUTE_PROTOCOL };
  }

  /** Somebody else's route to the very subnet holds, and so does another service's to a part of it. */
  async #isTaken(subnet: string): Promise<boolean> {
    const block = parseSubnet(subnet);
    const routes = await this.#links.routes();
    return routes.some(({ destination, protocol, interfaceIndex, type }) => {
      if (type !== 'unicast' || interfaceIndex === this.#index) return false;
      if (destination === subnet) return true;
      return protocol === ROUTE_PROTOCOL && overlap(parseSubnet(destination), block);
    });
  }

  async #forget(): Promise<void> {
    if (this.#known.size <= MAX_KEPT) return;
    const [oldest] = [...this.#known].find(([, routed]) => !routed) ?? [];
    if (oldest === undefined) return;
    this.#known.delete(oldest);
    await removeIfThere(this.#links.deleteRoute(this.#fallback(oldest)));
  }

  async #clear(call: CallOptions): Promise<void> {
    const table = this.#table;
    for (const rule of await this.#links.rules(call)) {
      const refusal =
        rule.table === undefined && rule.inputInterface === this.#options.interfaceName;
      const ours = rule.protocol === ROUTE_PROTOCOL && (rule.table === table || refusal);
      if (ours) await removeIfThere(this.#links.deleteRule(rule, call));
    }
    for (const route of await this.#links.routes({ ...call, table })) {
      await removeIfThere(this.#links.deleteRoute(route, call));
    }
  }

  async #build(call: CallOptions): Promise<void> {
    if (!this.#isGateway) return;
    for (const route of await this.#siteRoutes(call)) await this.#links.addRoute(route, call);
    const others = (await this.#links.rules(call)).filter(
      ({ protocol }) => protocol === ROUTE_PROTOCOL,
    );
    for (const rule of this.#rules()) {
      const other = others.find((each) => shared(each, rule));
      if (other !== undefined) {
        const what = `${other.source} behind ${other.inputInterface}, by another service,`;
        throw inUse('ERR_SUBNET_IN_USE', what, 'subnet or subnet interface');
      }
      await this.#links.addRule(rule, call);
    }
  }

  #rules(): Rule[] {
    const { interfaceName } = this.#options;
    const { subnets, interfaces } = siteOf(this.#options);
    const common = { protocol: ROUTE_PROTOCOL, priority: RULE_PRIORITY };
    const table = this.#table;
    return [
      ...(['ipv4', 'ipv6'] as const).flatMap((family) => [
        { ...common, family, inputInterface: interfaceName, table },
        { ...common, family, inputInterface: interfaceName, priority: RULE_PRIORITY + 1 },
      ]),
      ...subnets.flatMap((source) =>
        interfaces.map((inputInterface) => {
          const family = source.includes(':') ? ('ipv6' as const) : ('ipv4' as const);
          return { ...common, family, source, inputInterface, table };
        }),
      ),
    ];
  }

  /** From the main table: how own subnets are reached by their interfaces. */
  async #siteRoutes(call: CallOptions): Promise<Route[]> {
    const { subnets, interfaces } = siteOf(this.#options);
    const indices: number[] = [];
    for (const name of interfaces) {
      const link = await this.#links.findLink(name, call);
      if (link === undefined) throw noSuchInterface(name);
      indices.push(link.index);
    }
    const all = await this.#links.routes(call);
    const usable = all.filter(
      ({ type, interfaceIndex = 0 }) => type === 'unicast' && indices.includes(interfaceIndex),
    );
    return subnets.flatMap((subnet) => {
      const found = waysTo(subnet, usable);
      if (found.length === 0) throw noWayToSubnet(subnet, interfaces);
      return found.map(({ destination, interfaceIndex, gateway }) => ({
        ...{ destination, interfaceIndex, gateway },
        ...{ table: this.#table, protocol: ROUTE_PROTOCOL },
      }));
    });
  }
}

/** Whether packets could follow the rules of two services. */
function shared(one: Rule, other: Rule): boolean {
  if (one.source === undefined || other.source === undefined) return false;
  const [a, b] = [parseSubnet(one.source), parseSubnet(other.source)];
  return one.inputInterface === other.inputInterface && one.table !== other.table && overlap(a, b);
}
