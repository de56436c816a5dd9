/** Hears of addresses, interfaces and routes that come, go or change: a machine that roams, a gateway whose site does. */
import { Emitter } from '../../events.ts';
import type { Message } from '../netlink/framing.ts';
import { NetlinkListener } from '../netlink/listener.ts';
import { NETLINK_ROUTE } from '../netlink/socket.ts';
import {
  decodeAddress,
  decodeLink,
  decodeRoute,
  type InterfaceAddress,
  type Link,
  type Route,
} from './codec.ts';
import { RTM, RTNLGRP } from './kernel.ts';
import { decodeRule, type Rule } from './rule-codec.ts';

export type LinkEvent =
  | { readonly type: 'address-new' | 'address-delete'; readonly address: InterfaceAddress }
  | { readonly type: 'link-new' | 'link-delete'; readonly link: Link }
  | { readonly type: 'route-new' | 'route-delete'; readonly route: Route }
  | { readonly type: 'rule-new' | 'rule-delete'; readonly rule: Rule }
  /** Events were lost: list anew what is of interest. */
  | { readonly type: 'overrun' };

/** Undefined for messages of no interest. @throws MalformedError */
export function decodeLinkEvent({ type, body }: Message): LinkEvent | undefined {
  switch (type) {
    case RTM.NEWADDR:
    case RTM.DELADDR: {
      const address = decodeAddress(body);
      return address && { type: type === RTM.NEWADDR ? 'address-new' : 'address-delete', address };
    }
    case RTM.NEWLINK:
    case RTM.DELLINK:
      return { type: type === RTM.NEWLINK ? 'link-new' : 'link-delete', link: decodeLink(body) };
    case RTM.NEWROUTE:
    case RTM.DELROUTE: {
      const route = decodeRoute(body);
      return route && { type: type === RTM.NEWROUTE ? 'route-new' : 'route-delete', route };
    }
    case RTM.NEWRULE:
    case RTM.DELRULE: {
      const rule = decodeRule(body);
      return rule && { type: type === RTM.NEWRULE ? 'rule-new' : 'rule-delete', rule };
    }
    default:
      return undefined;
  }
}

export interface LinkMonitorOptions {
  /** Of all tables; not heard if left out. */
  readonly routes?: boolean;
  /** Routing rules; not heard if left out. */
  readonly rules?: boolean;
}

/**
 * Emits `event` for the network namespace that the process was in when it was made; `link-new`
 * also for an interface that changed. What goes with an interface that is set down, its IPv4 routes for one, the
 * kernel does not tell one by one. Equivalent to: `ip monitor address link route rule`
 */
export class LinkMonitor
  extends Emitter<{ event: [event: LinkEvent]; error: [error: Error] }>
  implements Disposable
{
  readonly #listener: NetlinkListener;

  constructor({ routes = false, rules = false }: LinkMonitorOptions = {}) {
    super();
    const more = [
      ...(routes ? [RTNLGRP.IPV4_ROUTE, RTNLGRP.IPV6_ROUTE] : []),
      ...(rules ? [RTNLGRP.IPV4_RULE, RTNLGRP.IPV6_RULE] : []),
    ];
    this.#listener = new NetlinkListener({
      protocol: NETLINK_ROUTE,
      groups: [RTNLGRP.LINK, RTNLGRP.IPV4_IFADDR, RTNLGRP.IPV6_IFADDR, ...more],
      onMessage: (message) => {
        const event = decodeLinkEvent(message);
        if (event !== undefined) this.tell('event', event);
      },
      onOverrun: () => this.tell('event', { type: 'overrun' }),
      onError: (error) => this.tell('error', error),
    });
  }

  close(): void {
    this.#listener.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
