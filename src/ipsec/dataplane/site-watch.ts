/** Notices at a gateway that the machine may reach the subnets behind it in another way. */
import { overlap, parseSubnet, type Subnet } from '../../policy/subnet.ts';
import { type LinkEvent, LinkMonitor } from '../link/monitor.ts';
import { ROUTE_PROTOCOL } from './routing.ts';
import type { Site } from './site.ts';

/** Milliseconds after the first event, since interfaces, addresses and routes change in several steps. */
const SETTLE = 100;

export interface SiteWatchOptions {
  /** Called again only after it has ended. */
  readonly onChange: () => Promise<void>;
  readonly onError: (error: Error) => void;
}

export class SiteWatch implements AsyncDisposable {
  readonly #options: SiteWatchOptions;
  readonly #subnets: readonly Subnet[];
  readonly #monitor: LinkMonitor;
  #timer: NodeJS.Timeout | undefined;
  #following: Promise<void> = Promise.resolve();

  /** Of the network namespace that the process is in. */
  constructor({ subnets }: Site, options: SiteWatchOptions) {
    this.#options = options;
    this.#subnets = subnets.map(parseSubnet);
    this.#monitor = new LinkMonitor({ routes: true });
    this.#monitor.on('event', (event) => {
      if (this.#concerns(event)) this.#settle();
    });
    this.#monitor.on('error', options.onError);
  }

  /** An interface counts, since IPv4 routes go with it without a word. */
  #concerns(event: LinkEvent): boolean {
    if (!('route' in event)) return true;
    const { destination, protocol, table } = event.route;
    if (protocol === ROUTE_PROTOCOL || table !== undefined) return false;
    const block = parseSubnet(destination);
    return this.#subnets.some((each) => overlap(each, block));
  }

  #settle(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#following = this.#following.then(() => {
        this.#timer = undefined;
        return this.#options.onChange().catch(this.#options.onError);
      });
    }, SETTLE);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#monitor.close();
    clearTimeout(this.#timer);
    await this.#following;
  }
}
