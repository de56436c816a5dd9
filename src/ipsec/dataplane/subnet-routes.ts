/**
 * The ways to subnets behind other gateways: of this machine's programs and, at a gateway, of the hosts behind it.
 *
 * ```
 *  this machine's programs ─▶ main table:  remote subnet ─▶ icvpn0
 *                                          remote subnet unreachable, behind all others
 *  hosts behind this one ───▶ SiteTable:   the same
 * ```
 *
 * A subnet that was routed to the service once stays unreachable by other ways until the data plane
 * closes: its gateway may only be restarting, and meanwhile nothing is to leave in clear.
 */
import { overlap, parseSubnet } from '../../policy/subnet.ts';
import type { LinkClient } from '../link/client.ts';
import type { Route } from '../link/codec.ts';
import type { CallOptions } from '../netlink/inflight.ts';
import {
  addUnlessThere,
  type InterfaceOptions,
  ROUTE_PROTOCOL,
  removeIfThere,
} from './interface.ts';
import { siteOf } from './site.ts';
import { SiteTable } from './site-table.ts';

/** Subnets that are kept unreachable; the one that was left first goes when there are more. */
const MAX_KEPT = 1_024;

export class SubnetRoutes {
  readonly #links: LinkClient;
  readonly #options: InterfaceOptions;
  readonly #index: number;
  readonly #site: SiteTable;
  /** Subnets, and whether each is routed now, in the order in which they came. */
  readonly #known = new Map<string, boolean>();

  private constructor(links: LinkClient, options: InterfaceOptions, index: number) {
    this.#links = links;
    this.#options = options;
    this.#index = index;
    this.#site = new SiteTable(links, options);
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
    await routes.#site.clear(call);
    for (const { destination, protocol, metric } of await links.routes(call)) {
      const ours = protocol === ROUTE_PROTOCOL && metric === routes.#metric;
      if (ours) routes.#known.set(destination, false);
    }
    try {
      await routes.#site.build(call);
    } catch (error) {
      await routes.#site.clear({});
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
      const table = this.#site.number;
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
    const table = this.#site.number;
    await removeIfThere(this.#links.deleteRoute({ ...this.#route(subnet), table }));
    // What is unreachable in the main table is so here too.
    await removeIfThere(this.#links.deleteRoute({ ...this.#fallback(subnet), table }));
  }

  /** The machine may reach the subnets behind it in another way. @returns as {@link SiteTable.follow} */
  followSite(): Promise<readonly string[] | undefined> {
    return this.#site.follow();
  }

  /** The routes to the interface go with it. */
  async close(): Promise<void> {
    await this.#site.clear({});
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
}
