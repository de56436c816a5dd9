/**
 * What a data plane stands on: guard, rules, interface, routes, block of reqids. docs/guard.md says why in this order.
 *
 * ```
 *  sockets ─▶ lay:    guard ─▶ refusals ─▶ (what an earlier run left goes) ─▶ interface ─▶ routes ─▶ watched
 *             remove: unwatched ─▶ SAs, policies ─▶ interface ─▶ refusals ─▶ guard ─▶ sockets closed
 * ```
 */
import type { RunNft } from '../firewall/nft.ts';
import { GuardError } from '../guard/errors.ts';
import { Guard } from '../guard/guard.ts';
import { Reconciler, type Repairable } from '../guard/reconciler.ts';
import { LinkClient } from '../link/client.ts';
import type { CallOptions } from '../netlink/inflight.ts';
import { XfrmClient } from '../xfrm/client.ts';
import { BoundSockets } from './bound-sockets.ts';
import { conflictingRules } from './conflicts.ts';
import {
  type Claim,
  claim,
  ensureInterface,
  INTERFACE_GROUP,
  type InterfaceOptions,
  removeInterface,
} from './interface.ts';
import { LarvalDrop } from './larval-drop.ts';
import { overlaps } from './overlap.ts';
import { type Ownership, probeKernel, removeOwned, reserveReqids } from './ownership.ts';
import { ServiceRoutes } from './service-routes.ts';
import { ServiceWatch } from './service-watch.ts';
import { siteOf } from './site.ts';
import { SiteWatch } from './site-watch.ts';

export interface FoundationOptions extends InterfaceOptions {
  readonly run?: RunNft | undefined;
  /** The machine reaches own subnets in another way now. @param stranded those that nothing leads to */
  readonly onSite: (stranded: readonly string[]) => void;
  /** What another program has taken away is back. */
  readonly onRepaired: (what: readonly string[]) => void;
  /** What has to be in the kernel is not; undefined once it is again. */
  readonly onSoundness: (why: Error | undefined) => void;
  /** Rules of others that come before ours, other ones than before. */
  readonly onConflicts: (rules: readonly string[]) => void;
  /** Something is not followed any more. */
  readonly onError: (error: Error) => void;
}

/** What became of the guard: it stays where that was asked for, or while programs still have a virtual address. */
export interface GuardLeft {
  readonly kept: boolean;
  /** Sockets that have the virtual IPv6 address. */
  readonly sockets: number;
}

export class Foundation implements AsyncDisposable {
  readonly xfrm: XfrmClient;
  readonly #options: FoundationOptions;
  readonly #links: LinkClient;
  readonly #sockets: DisposableStack;
  readonly #larvalDrop: LarvalDrop;
  readonly #bound: BoundSockets;
  readonly #guard: Guard;
  readonly #routes: ServiceRoutes;
  readonly #siteWatch: SiteWatch | undefined;
  /** What has to be in the kernel, in the order in which it is repaired. */
  readonly #parts: Repairable[];
  #reconciler: Reconciler | undefined;
  #firstReqid: number | undefined;
  #interfaceIndex: number | undefined;
  #tookOver = false;
  #conflicts: readonly string[] = [];
  /** One change of routes and rules at a time. */
  #tail: Promise<unknown> = Promise.resolve();

  /** Opens sockets in the network namespace that the process is in. */
  constructor(options: FoundationOptions) {
    this.#options = options;
    const { onError, run, interfaceName, ifId, prefixes } = options;
    using sockets = new DisposableStack();
    this.#links = sockets.use(new LinkClient());
    this.xfrm = sockets.use(new XfrmClient());
    this.#larvalDrop = sockets.use(new LarvalDrop());
    this.#bound = sockets.use(new BoundSockets());
    this.#routes = new ServiceRoutes(this.#links, options);
    const { subnets, interfaces: subnetInterfaces } = siteOf(options);
    const onChange = (): void => this.#reconciler?.poke();
    this.#guard = sockets.use(
      new Guard({
        ...{ run, onError, interfaceName, ifId, subnets, subnetInterfaces },
        prefixes: Object.values(prefixes),
        onDisturbed: onChange,
      }),
    );
    sockets.use(new ServiceWatch(options, () => this.#interfaceIndex, { onChange, onError }));
    if (subnets.length > 0) {
      this.#siteWatch = new SiteWatch(siteOf(options), {
        onChange: async () => void (await this.#serially(() => this.#follow())),
        onError,
      });
    }
    this.#parts = this.#ownParts();
    this.#sockets = sockets.move();
  }

  /** Repairs this too from now on, after the guard. Call {@link look} when it may have to be. */
  keep(part: Repairable): void {
    this.#parts.splice(1, 0, part);
  }

  /** Something in the kernel may have changed. */
  look(): void {
    this.#reconciler?.poke();
  }

  /** The first of 65,536 reqids that nobody else has. */
  get firstReqid(): number {
    return this.#firstReqid ?? 0;
  }

  get interfaceIndex(): number {
    return this.#interfaceIndex ?? 0;
  }

  /** Whether packets wait for an SA; otherwise the first ones to a peer are lost (P18). */
  get packetsWait(): boolean {
    return this.#larvalDrop.canWait;
  }

  /** Whether an earlier run had left its guard. */
  get tookOver(): boolean {
    return this.#tookOver;
  }

  /** Rules of others that are asked before ours: what they lead away the guard drops. */
  get conflicts(): readonly string[] {
    return this.#conflicts;
  }

  /** @throws as {@link DataPlane.open}; nothing of ours is in the kernel then, but the guard of an earlier run */
  async lay(call: CallOptions): Promise<void> {
    await probeKernel(this.xfrm, this.#options.ifId, call);
    const former = await claim(this.#links, this.#options, call);
    try {
      await this.#succeed(former, call);
      this.#firstReqid = await reserveReqids(this.xfrm, call);
      const { index } = await ensureInterface(this.#links, this.#options, undefined, call);
      this.#interfaceIndex = index;
      this.#larvalDrop.turnOff();
      await this.#routes.open(index, call);
    } catch (error) {
      if (!(error instanceof GuardError)) await this.#dismantle({ keepGuard: this.#tookOver });
      throw error;
    }
    this.#reconcile();
  }

  /** Takes away what a run that is over has left. @throws as {@link lay} */
  async takeAway(): Promise<GuardLeft> {
    await this.#succeed(await claim(this.#links, this.#options, {}), {});
    return this.#dismantle({ keepGuard: false });
  }

  /** Guard and refusals first; then what an earlier run left can go. */
  async #succeed({ old, ownsInterface, isFirst }: Claim, call: CallOptions): Promise<void> {
    if (!isFirst) this.#larvalDrop.adopt();
    await this.#guard.install(call);
    this.#tookOver = await this.#routes.refuse(call);
    if (old !== undefined) await this.#links.deleteLink(old.index, call);
    await removeOwned(this.xfrm, { ...this.#owner, ownsInterface }, call);
  }

  /** Leads subnets of a peer to the interface. @returns those that this machine's own programs reach in another way */
  route(subnets: readonly string[]): Promise<string[]> {
    return this.#serially(async () => {
      const shadowed: string[] = [];
      for (const subnet of subnets) {
        if (!(await this.#routes.add(subnet))) shadowed.push(subnet);
      }
      return shadowed;
    });
  }

  unroute(subnets: readonly string[]): Promise<void> {
    return this.#serially(async () => {
      for (const subnet of subnets) await this.#routes.remove(subnet);
    });
  }

  /** What this machine has in the service's prefixes beside the service's interface, for people. */
  overlaps(call: CallOptions = {}): Promise<string[]> {
    return overlaps(this.#links, Object.values(this.#options.prefixes), this.#interfaceIndex, call);
  }

  /** Removes all that is ours from the kernel, policies and SAs first, the guard last. */
  async remove(options: { readonly keepGuard: boolean }): Promise<GuardLeft> {
    await this.#unwatch(); // it would put back what goes
    await removeOwned(this.xfrm, this.#owner, {});
    return this.#dismantle(options);
  }

  async #dismantle({ keepGuard }: { readonly keepGuard: boolean }): Promise<GuardLeft> {
    const others = (await this.#links.links()).some(
      ({ group, index }) => group === INTERFACE_GROUP && index !== this.#interfaceIndex,
    );
    this.#larvalDrop.turnOn(others);
    await removeInterface(this.#links, this.#options, {});
    await this.#routes.closeSite();
    const sockets = this.#bound.count(this.#options.virtualAddresses.ipv6);
    if (keepGuard || sockets > 0) return { kept: true, sockets };
    await this.#routes.clear();
    await this.#guard.remove();
    return { kept: false, sockets };
  }

  /** Closes the sockets, and waits for what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#unwatch();
    this.#sockets.dispose();
  }

  #reconcile(): void {
    const { onRepaired, onSoundness } = this.#options;
    this.#reconciler = new Reconciler({
      parts: this.#parts,
      onRepaired,
      onUnsound: onSoundness,
      onSound: () => onSoundness(undefined),
    });
    this.#reconciler.poke(); // for what has changed meanwhile
  }

  #ownParts(): Repairable[] {
    const part = (repair: () => Promise<readonly string[]>) => ({
      repair: () => this.#serially(repair),
    });
    return [
      part(async () => ((await this.#guard.repair()) ? ['guard'] : [])),
      part(() => this.#repairRules()),
      part(() => this.#repairInterface()),
      part(() => this.#routes.repairRoutes()),
      ...(this.#siteWatch ? [part(() => this.#follow())] : []),
    ];
  }

  async #repairRules(): Promise<string[]> {
    const repaired = await this.#routes.repairRules();
    const conflicts = conflictingRules(await this.#links.rules(), this.#options);
    if (conflicts.join() !== this.#conflicts.join()) {
      this.#conflicts = conflicts;
      this.#options.onConflicts(conflicts);
    }
    return repaired;
  }

  async #repairInterface(): Promise<readonly string[]> {
    const index = this.#interfaceIndex;
    return (await ensureInterface(this.#links, this.#options, index, {})).repaired;
  }

  async #follow(): Promise<readonly never[]> {
    const stranded = await this.#routes.followSite();
    if (stranded !== undefined) this.#options.onSite(stranded);
    return [];
  }

  async #unwatch(): Promise<void> {
    await this.#siteWatch?.[Symbol.asyncDispose]();
    await this.#reconciler?.[Symbol.asyncDispose]();
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => undefined);
    return run;
  }

  get #owner(): Ownership {
    const { ifId, virtualAddresses } = this.#options;
    const ownsInterface = (index: number): boolean => index === this.#interfaceIndex;
    return { ifId, virtualAddresses, ownsInterface, firstReqid: this.#firstReqid };
  }
}
