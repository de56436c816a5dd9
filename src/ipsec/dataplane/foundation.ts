/**
 * What a data plane stands on: its interface, addresses, routes and block of reqids.
 *
 * ```
 *  sockets ─▶ lay: what an earlier run left is removed ─▶ interface ─▶ routes ─▶ … ─▶ remove ─▶ sockets closed
 * ```
 */
import { LinkClient } from '../link/client.ts';
import type { CallOptions } from '../netlink/inflight.ts';
import { XfrmClient } from '../xfrm/client.ts';
import { build, claim, dismantle, INTERFACE_GROUP, type InterfaceOptions } from './interface.ts';
import { LarvalDrop } from './larval-drop.ts';
import { overlaps } from './overlap.ts';
import { type Ownership, probeKernel, removeOwned, reserveReqids } from './ownership.ts';
import { siteOf } from './site.ts';
import { SiteWatch } from './site-watch.ts';
import { SubnetRoutes } from './subnet-routes.ts';

export interface FoundationOptions extends InterfaceOptions {
  /** The machine reaches own subnets in another way now. @param stranded those that nothing leads to */
  readonly onSite: (stranded: readonly string[]) => void;
  /** The site is not followed any more. */
  readonly onError: (error: Error) => void;
}

export class Foundation implements AsyncDisposable {
  readonly xfrm: XfrmClient;
  readonly #options: FoundationOptions;
  readonly #links: LinkClient;
  readonly #sockets: DisposableStack;
  readonly #larvalDrop: LarvalDrop;
  readonly #watch: SiteWatch | undefined;
  #firstReqid: number | undefined;
  #interfaceIndex = 0;
  #routes: SubnetRoutes | undefined;

  /** Opens sockets in the network namespace that the process is in. */
  constructor(options: FoundationOptions) {
    this.#options = options;
    using sockets = new DisposableStack();
    this.#links = sockets.use(new LinkClient());
    this.xfrm = sockets.use(new XfrmClient());
    this.#larvalDrop = sockets.use(new LarvalDrop());
    const site = siteOf(options);
    const { onError } = options;
    const onChange = (): Promise<void> => this.#follow();
    if (site.subnets.length > 0) this.#watch = new SiteWatch(site, { onChange, onError });
    this.#sockets = sockets.move();
  }

  /** The first of 65,536 reqids that nobody else has. */
  get firstReqid(): number {
    return this.#firstReqid ?? 0;
  }

  get interfaceIndex(): number {
    return this.#interfaceIndex;
  }

  /** @throws as {@link DataPlane.open}; nothing of ours is in the kernel then */
  async lay(call: CallOptions): Promise<void> {
    await probeKernel(this.xfrm, this.#options.ifId, call);
    const { ownsInterface, isFirst } = await claim(this.#links, this.#options, call);
    if (!isFirst) this.#larvalDrop.adopt();
    await removeOwned(this.xfrm, { ...this.#owner, ownsInterface }, call);
    this.#firstReqid = await reserveReqids(this.xfrm, call);
    try {
      const index = await build(this.#links, this.#options, call);
      this.#interfaceIndex = index;
      this.#larvalDrop.turnOff();
      this.#routes = await SubnetRoutes.open(this.#links, this.#options, index, call);
    } catch (error) {
      await this.#dismantle();
      throw error;
    }
  }

  /** Leads subnets of a peer to the interface. @returns those that this machine's own programs reach in another way */
  async route(subnets: readonly string[]): Promise<string[]> {
    const shadowed: string[] = [];
    for (const subnet of subnets) {
      if (!(await this.#routes?.add(subnet))) shadowed.push(subnet);
    }
    return shadowed;
  }

  async unroute(subnets: readonly string[]): Promise<void> {
    for (const subnet of subnets) await this.#routes?.remove(subnet);
  }

  /** What this machine has in the service's prefixes beside the service's interface, for people. */
  overlaps(call: CallOptions = {}): Promise<string[]> {
    return overlaps(this.#links, Object.values(this.#options.prefixes), this.#interfaceIndex, call);
  }

  /** Removes all that is ours from the kernel, policies and SAs first. */
  async remove(): Promise<void> {
    await this.#watch?.[Symbol.asyncDispose](); // it would put back what goes
    await removeOwned(this.xfrm, this.#owner, {});
    await this.#routes?.close();
    await this.#dismantle();
  }

  async #dismantle(): Promise<void> {
    const others = (await this.#links.links()).some(
      ({ group, index }) => group === INTERFACE_GROUP && index !== this.#interfaceIndex,
    );
    this.#larvalDrop.turnOn(others);
    await dismantle(this.#links, this.#options, {});
  }

  /** Closes the sockets, and waits for what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch?.[Symbol.asyncDispose]();
    this.#sockets.dispose();
  }

  async #follow(): Promise<void> {
    const stranded = await this.#routes?.followSite();
    if (stranded !== undefined) this.#options.onSite(stranded);
  }

  get #owner(): Ownership {
    const { ifId, virtualAddresses } = this.#options;
    const ownsInterface = (index: number): boolean => index === this.#interfaceIndex;
    return { ifId, virtualAddresses, ownsInterface, firstReqid: this.#firstReqid };
  }
}
