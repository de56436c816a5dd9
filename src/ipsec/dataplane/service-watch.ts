/** Hears of whatever may concern a service's interface, addresses, routes and rules. */
import { type LinkEvent, LinkMonitor } from '../link/monitor.ts';
import { canonicalAddress } from '../xfrm/address.ts';
import type { InterfaceOptions } from './interface.ts';
import { serviceTable } from './routing.ts';
import { siteTable } from './site-table.ts';

export interface ServiceWatchOptions {
  readonly onChange: () => void;
  readonly onError: (error: Error) => void;
}

export class ServiceWatch implements Disposable {
  readonly #interfaceName: string;
  readonly #index: () => number | undefined;
  readonly #addresses: readonly string[];
  readonly #tables: readonly number[];
  readonly #monitor: LinkMonitor;

  /**
   * Of the network namespace that the process is in.
   *
   * @param index of the service's interface, once it is there
   */
  constructor(
    { interfaceName, ifId, virtualAddresses }: InterfaceOptions,
    index: () => number | undefined,
    { onChange, onError }: ServiceWatchOptions,
  ) {
    this.#interfaceName = interfaceName;
    this.#index = index;
    this.#addresses = Object.values(virtualAddresses).map(canonicalAddress);
    this.#tables = [serviceTable(ifId), siteTable(ifId)];
    this.#monitor = new LinkMonitor({ routes: true, rules: true });
    this.#monitor.on('event', (event) => {
      if (this.#concerns(event)) onChange();
    });
    this.#monitor.on('error', onError);
  }

  /** An interface counts whatever has changed of it: IPv4 routes go with it without a word. Each rule may come before ours. */
  #concerns(event: LinkEvent): boolean {
    if ('link' in event) {
      return event.link.name === this.#interfaceName || event.link.index === this.#index();
    }
    if ('address' in event) {
      const { address, interfaceIndex } = event.address;
      return interfaceIndex === this.#index() || this.#addresses.includes(address);
    }
    if ('route' in event) return this.#tables.includes(event.route.table ?? 0);
    return true;
  }

  [Symbol.dispose](): void {
    this.#monitor.close();
  }
}
