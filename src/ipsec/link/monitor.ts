/** Hears of addresses and interfaces that come, go or change: a machine that roams. */
import { EventEmitter } from 'node:events';
import type { Message } from '../netlink/framing.ts';
import { NetlinkListener } from '../netlink/listener.ts';
import { NETLINK_ROUTE } from '../netlink/socket.ts';
import { decodeAddress, decodeLink, type InterfaceAddress, type Link } from './codec.ts';
import { RTM, RTNLGRP } from './kernel.ts';

export type LinkEvent =
  | { readonly type: 'address-new' | 'address-delete'; readonly address: InterfaceAddress }
  | { readonly type: 'link-new' | 'link-delete'; readonly link: Link }
  /** Events were lost: list addresses and interfaces anew. */
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
    default:
      return undefined;
  }
}

/**
 * Emits `event` for the network namespace that the process was in when it was made; `link-new`
 * also for an interface that changed. Equivalent to: `ip monitor address link`
 */
export class LinkMonitor
  extends EventEmitter<{ event: [event: LinkEvent]; error: [error: Error] }>
  implements Disposable
{
  readonly #listener: NetlinkListener;

  constructor() {
    super();
    this.#listener = new NetlinkListener({
      protocol: NETLINK_ROUTE,
      groups: [RTNLGRP.LINK, RTNLGRP.IPV4_IFADDR, RTNLGRP.IPV6_IFADDR],
      onMessage: (message) => {
        const event = decodeLinkEvent(message);
        if (event !== undefined) this.emit('event', event);
      },
      onOverrun: () => this.emit('event', { type: 'overrun' }),
      onError: (error) => this.emit('error', error),
    });
  }

  close(): void {
    this.#listener.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
