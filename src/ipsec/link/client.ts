/** The little of rtnetlink that a VPN needs: its interface, addresses, routes and rules for them. */
import { NetlinkClient } from '../netlink/client.ts';
import { MalformedError } from '../netlink/errors.ts';
import { NLM_F_CREATE, NLM_F_EXCL } from '../netlink/framing.ts';
import type { CallOptions } from '../netlink/inflight.ts';
import { NETLINK_ROUTE } from '../netlink/socket.ts';
import { AF_INET, AF_INET6 } from '../xfrm/kernel/constants.ts';
import {
  decodeAddress,
  decodeLink,
  decodeRoute,
  encodeAddress,
  encodeAddressDump,
  encodeLinkIndex,
  encodeLinkMtu,
  encodeLinkName,
  encodeLinkUp,
  encodeNewXfrmLink,
  encodeNoLinkLocal,
  encodeRoute,
  encodeRouteDump,
  type InterfaceAddress,
  type Link,
  type Route,
  type XfrmLinkSpec,
} from './codec.ts';
import { LinkError, linkError } from './errors.ts';
import { RTM } from './kernel.ts';
import { decodeRule, encodeRule, encodeRuleDump, type Rule } from './rule-codec.ts';

const CREATE = NLM_F_CREATE | NLM_F_EXCL;

/**
 * Interfaces, addresses and routes of the network namespace that the process was in when the
 * client was made. Calls throw LinkError for a refusal, else as {@link NetlinkClient.request}.
 */
export class LinkClient implements Disposable {
  readonly #netlink = new NetlinkClient({ protocol: NETLINK_ROUTE, refuse: linkError });

  /** Makes an xfrm interface, down. Equivalent to: `ip link add NAME type xfrm if_id ID` */
  async addXfrmLink(spec: XfrmLinkSpec, call?: CallOptions): Promise<void> {
    await this.#do('add xfrm interface', RTM.NEWLINK, encodeNewXfrmLink(spec), CREATE, call);
  }

  /** Equivalent to: `ip link set NAME up` */
  async setUp(index: number, call?: CallOptions): Promise<void> {
    await this.#do('set interface up', RTM.NEWLINK, encodeLinkUp(index), 0, call);
  }

  /** In bytes. Equivalent to: `ip link set NAME mtu MTU` */
  async setMtu(index: number, mtu: number, call?: CallOptions): Promise<void> {
    await this.#do('set MTU', RTM.NEWLINK, encodeLinkMtu(index, mtu), 0, call);
  }

  /** Equivalent to: `ip link set NAME addrgenmode none` */
  async setNoLinkLocal(index: number, call?: CallOptions): Promise<void> {
    await this.#do('set address mode', RTM.NEWLINK, encodeNoLinkLocal(index), 0, call);
  }

  /** Takes its addresses and routes with it. Equivalent to: `ip link delete NAME` */
  async deleteLink(index: number, call?: CallOptions): Promise<void> {
    await this.#do('delete interface', RTM.DELLINK, encodeLinkIndex(index), 0, call);
  }

  /** Undefined if there is none of that name. Equivalent to: `ip -d link show NAME` */
  async findLink(name: string, call?: CallOptions): Promise<Link | undefined> {
    const request = { operation: 'get interface', type: RTM.GETLINK, body: encodeLinkName(name) };
    try {
      const [link] = await this.#netlink.request(request, ({ body }) => decodeLink(body), call);
      if (link === undefined) throw new MalformedError('no interface in answer');
      return link;
    } catch (error) {
      if (error instanceof LinkError && error.errnoName === 'ENODEV') return undefined;
      throw error;
    }
  }

  /** Equivalent to: `ip -d link show` */
  async links(call?: CallOptions): Promise<Link[]> {
    const request = { operation: 'dump interfaces', type: RTM.GETLINK, body: encodeLinkIndex(0) };
    return this.#netlink.dump(request, ({ body }) => decodeLink(body), call);
  }

  /** Adds a single address, without duplicate address detection. Equivalent to: `ip address add A dev NAME nodad` */
  async addAddress(index: number, address: string, call?: CallOptions): Promise<void> {
    await this.#do('add address', RTM.NEWADDR, encodeAddress(index, address), CREATE, call);
  }

  /** Equivalent to: `ip address delete A dev NAME` */
  async deleteAddress(index: number, address: string, call?: CallOptions): Promise<void> {
    await this.#do('delete address', RTM.DELADDR, encodeAddress(index, address), 0, call);
  }

  /** Equivalent to: `ip address show` */
  async addresses(call?: CallOptions): Promise<InterfaceAddress[]> {
    const request = {
      operation: 'dump addresses',
      type: RTM.GETADDR,
      body: encodeAddressDump(),
    };
    const found = await this.#netlink.dump(request, ({ body }) => decodeAddress(body), call);
    return found.filter((address) => address !== undefined);
  }

  /** Equivalent to: `ip route add ...` */
  async addRoute(route: Route, call?: CallOptions): Promise<void> {
    await this.#do('add route', RTM.NEWROUTE, encodeRoute(route), CREATE, call);
  }

  /** Equivalent to: `ip route delete ...` */
  async deleteRoute(route: Route, call?: CallOptions): Promise<void> {
    await this.#do('delete route', RTM.DELROUTE, encodeRoute(route), 0, call);
  }

  /** Routes of one table, the main one if left out. Equivalent to: `ip route show table T`, and with `-6` */
  async routes(call?: CallOptions & { readonly table?: number }): Promise<Route[]> {
    const found: Route[] = [];
    for (const family of [AF_INET, AF_INET6] as const) {
      const body = encodeRouteDump(family);
      const request = { operation: 'dump routes', type: RTM.GETROUTE, body };
      const routes = await this.#netlink.dump(request, (m) => decodeRoute(m.body), call);
      found.push(...routes.filter((route) => route !== undefined));
    }
    return found.filter(({ table }) => table === call?.table);
  }

  /** Equivalent to: `ip rule add ...` */
  async addRule(rule: Rule, call?: CallOptions): Promise<void> {
    await this.#do('add rule', RTM.NEWRULE, encodeRule(rule), CREATE, call);
  }

  /** Equivalent to: `ip rule delete ...` */
  async deleteRule(rule: Rule, call?: CallOptions): Promise<void> {
    await this.#do('delete rule', RTM.DELRULE, encodeRule(rule), 0, call);
  }

  /** Those that {@link addRule} could have made. Equivalent to: `ip rule show`, `ip -6 rule show` */
  async rules(call?: CallOptions): Promise<Rule[]> {
    const found: Rule[] = [];
    for (const family of [AF_INET, AF_INET6] as const) {
      const body = encodeRuleDump(family);
      const request = { operation: 'dump rules', type: RTM.GETRULE, body };
      const rules = await this.#netlink.dump(request, (m) => decodeRule(m.body), call);
      found.push(...rules.filter((rule) => rule !== undefined));
    }
    return found;
  }

  close(): void {
    this.#netlink.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #do(
    operation: string,
    type: number,
    body: Uint8Array,
    flags: number,
    call?: CallOptions,
  ): Promise<void> {
    await this.#netlink.request({ operation, type, flags, body }, () => undefined, call);
  }
}
