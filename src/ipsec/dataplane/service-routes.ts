/**
 * The ways to the service's members and to the subnets behind other gateways: of this machine's programs and, at a
 * gateway, of the hosts behind it.
 *
 * ```
 *  this machine's programs ─▶ rules, service's table (routing.ts):  prefixes, remote subnets ─▶ icvpn0, else unreachable
 *  hosts behind this one ───▶ SiteTable:                            remote subnets ─▶ icvpn0, else unreachable
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
import { canonicalPrefix } from '../xfrm/address.ts';
import { addUnlessThere, type InterfaceOptions, removeIfThere } from './interface.ts';
import {
  isServiceRule,
  LAST_METRIC,
  PREFERENCE,
  prefixRules,
  ROUTE_PROTOCOL,
  sameRule,
  serviceRoute,
  serviceTable,
  subnetRules,
} from './routing.ts';
import { siteOf } from './site.ts';
import { SiteTable } from './site-table.ts';

/** Subnets that are kept unreachable; the one that was left first goes when there are more. */
const MAX_KEPT = 1_024;

export class ServiceRoutes {
  readonly #links: LinkClient;
  readonly #options: InterfaceOptions;
  readonly #site: SiteTable;
  /** Subnets, and whether each is routed now, in the order in which they came. */
  readonly #known = new Map<string, boolean>();
  #index: number | undefined;
  #siteBuilt = false;

  constructor(links: LinkClient, options: InterfaceOptions) {
    this.#links = links;
    this.#options = options;
    this.#site = new SiteTable(links, options);
  }

  /**
   * Takes over what an earlier run left unreachable, and refuses all of it from now on.
   *
   * @returns whether an earlier run left something
   */
  async refuse(call: CallOptions): Promise<boolean> {
    const left = (await this.#links.rules(call)).filter((rule) =>
      isServiceRule(rule, this.#options.ifId),
    );
    const own = prefixRules(this.#options).map(({ destination }) => destination);
    for (const { priority, destination = '' } of left) {
      if (priority === PREFERENCE.fallback && !own.includes(destination)) {
        this.#known.set(destination, false);
      }
    }
    await this.#repairRules(call);
    await this.#removeFormer(call);
    return left.length > 0;
  }

  /**
   * Leads to the interface what belongs there, and builds the table of a gateway.
   *
   * @param index of the service's interface
   * @throws DataPlaneError `ERR_SUBNET_INTERFACE`, `ERR_SUBNET_NOT_HERE`, `ERR_SUBNET_IN_USE`; LinkError
   */
  async open(index: number, call: CallOptions): Promise<void> {
    this.#index = index;
    await this.#site.clear(call);
    await this.#repairRoutes(call);
    await this.#site.build(call);
    this.#siteBuilt = true;
  }

  /** @returns whether this machine's own programs reach it by the service: not where it has a route of its own there */
  async add(subnet: string): Promise<boolean> {
    this.#known.delete(subnet);
    this.#known.set(subnet, true);
    await this.#forget();
    await this.#repairRules({}, subnetRules(subnet, this.#options));
    await this.#repairRoutes({});
    return !(await this.#isTaken(subnet));
  }

  async remove(subnet: string): Promise<void> {
    this.#known.set(subnet, false);
    for (const route of this.#waysTo(subnet)) await removeIfThere(this.#links.deleteRoute(route));
  }

  /** Puts back what is missing, the refusals first. @returns what that was, in words */
  async repairRules(): Promise<string[]> {
    return this.#repairRules({});
  }

  /** As {@link repairRules}, once the interface is there. */
  async repairRoutes(): Promise<string[]> {
    return this.#repairRoutes({});
  }

  /** The machine may reach the subnets behind it in another way. @returns as {@link SiteTable.follow} */
  followSite(): Promise<readonly string[] | undefined> {
    return this.#site.follow();
  }

  /** Ends a gateway's forwarding. Routes to the interface go with it; all else stays refused. */
  async closeSite(): Promise<void> {
    this.#siteBuilt = false;
    await this.#site.clear({});
  }

  /** Nothing is refused any more. */
  async clear(): Promise<void> {
    for (const rule of this.#rules().reverse()) await removeIfThere(this.#links.deleteRule(rule));
  }

  #rules(): Rule[] {
    return [
      ...prefixRules(this.#options),
      ...[...this.#known.keys()].flatMap((subnet) => subnetRules(subnet, this.#options)),
      ...(this.#siteBuilt ? this.#site.rules() : []),
    ];
  }

  async #repairRules(call: CallOptions, wanted = this.#rules()): Promise<string[]> {
    const present = (await this.#links.rules(call)).filter(
      ({ protocol }) => protocol === ROUTE_PROTOCOL,
    );
    const repaired: string[] = [];
    for (const rule of wanted) {
      if (present.some((each) => sameRule(each, rule))) continue;
      const added = await addUnlessThere(this.#links.addRule(rule, call));
      if (added) repaired.push(`rule ${rule.priority} for ${rule.destination ?? 'the site'}`);
    }
    return repaired;
  }

  #routes(): Route[] {
    const index = this.#index;
    if (index === undefined) return [];
    const { ipv6, ipv4 } = this.#options.prefixes;
    const known = [...this.#known];
    // The refusals last: they come first, and go last.
    return [
      ...[ipv6, ipv4].map((each) => serviceRoute(each, this.#options, index)),
      ...known.flatMap(([subnet, isRouted]) => (isRouted ? this.#waysTo(subnet) : [])),
      ...known.flatMap(([subnet]) => this.#refusalsOf(subnet)),
    ];
  }

  #waysTo(subnet: string): Route[] {
    const index = this.#index;
    if (index === undefined) return [];
    const route = serviceRoute(subnet, this.#options, index);
    if (siteOf(this.#options).subnets.length === 0) return [route];
    return [route, { ...route, preferredSource: undefined, table: this.#site.number }];
  }

  /** For hosts behind this gateway, whose packets another service's rules would take else. */
  #refusalsOf(subnet: string): Route[] {
    if (siteOf(this.#options).subnets.length === 0) return [];
    const refusal = { type: 'unreachable', metric: LAST_METRIC, protocol: ROUTE_PROTOCOL } as const;
    return [{ ...refusal, destination: canonicalPrefix(subnet), table: this.#site.number }];
  }

  async #repairRoutes(call: CallOptions): Promise<string[]> {
    const present = [
      ...(await this.#links.routes({ ...call, table: serviceTable(this.#options.ifId) })),
      ...(await this.#links.routes({ ...call, table: this.#site.number })),
    ];
    const repaired: string[] = [];
    for (const route of this.#routes().reverse()) {
      const found = present.find((each) => sameWay(each, route));
      if (found !== undefined && found.preferredSource === route.preferredSource) continue;
      // IPv6 routes lose their source with the address.
      if (found !== undefined) await removeIfThere(this.#links.deleteRoute(found, call));
      const added = await addUnlessThere(this.#links.addRoute(route, call));
      if (added) repaired.push(`route to ${route.destination}`);
    }
    return repaired;
  }

  /** Somebody else's route to the very subnet holds, and so does another service's that came first. */
  async #isTaken(subnet: string): Promise<boolean> {
    const block = parseSubnet(subnet);
    const routes = await this.#links.routes();
    if (routes.some(({ destination, type }) => type === 'unicast' && destination === subnet)) {
      return true;
    }
    const rules = await this.#links.rules();
    const isMine = (rule: Rule): boolean => isServiceRule(rule, this.#options.ifId);
    const mine = rules.findIndex(
      (rule) => isMine(rule) && rule.priority === PREFERENCE.subnet && rule.destination === subnet,
    );
    return rules
      .slice(0, Math.max(mine, 0))
      .filter((rule) => !isMine(rule))
      .some(
        ({ protocol, priority, destination }) =>
          protocol === ROUTE_PROTOCOL &&
          priority === PREFERENCE.subnet &&
          destination !== undefined &&
          overlap(parseSubnet(destination), block),
      );
  }

  async #forget(): Promise<void> {
    if (this.#known.size <= MAX_KEPT) return;
    const [oldest] = [...this.#known].find(([, routed]) => !routed) ?? [];
    if (oldest === undefined) return;
    this.#known.delete(oldest);
    for (const rule of subnetRules(oldest, this.#options).reverse()) {
      await removeIfThere(this.#links.deleteRule(rule));
    }
    for (const route of this.#refusalsOf(oldest)) {
      await removeIfThere(this.#links.deleteRoute(route));
    }
  }

  /** Routes that icvpn up to 0.1 kept in the main table. */
  async #removeFormer(call: CallOptions): Promise<void> {
    const own = prefixRules(this.#options).map(({ destination }) => destination);
    const former = (this.#options.ifId | 0x8000_0000) >>> 0;
    for (const route of await this.#links.routes(call)) {
      const { protocol, type, metric, destination } = route;
      if (protocol !== ROUTE_PROTOCOL || type !== 'unreachable') continue;
      if (metric === former || own.includes(destination)) {
        await removeIfThere(this.#links.deleteRoute(route, call));
      }
    }
  }
}

const sameWay = (one: Route, other: Route): boolean =>
  one.destination === other.destination &&
  (one.type ?? 'unicast') === (other.type ?? 'unicast') &&
  one.table === other.table &&
  // The kernel says that IPv6 refuses by the loopback interface.
  (one.type === 'unreachable' || one.interfaceIndex === other.interfaceIndex);
