/**
 * The services that one super-peer serves: found by their descriptors, which they then follow.
 *
 * The record store of tier 1 is what counts. The admission store has a copy of each descriptor that was served, which
 * a start compares: it mends a record store that lost one, and is mended where it is behind.
 *
 * ```
 * admission.db ── newer or missing there ─▶ record store ─▶ allowed? ─▶ served ─▶ copy in admission.db
 * ```
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import type { ServedService as Door } from '../admission/server.ts';
import { IcvpnError } from '../errors.ts';
import { holdDescriptor } from '../overlay/service-trust.ts';
import { DESCRIPTOR_RECORD } from '../overlay/stored-kinds.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import type { DuplicateStatus } from './duplicate-desk.ts';
import { ServedService, type ServedServiceOptions } from './served-service.ts';

/** One service, as `icvpn status` of a super-peer shows it. */
export interface ServedStatus {
  readonly id: string;
  readonly name: string;
  readonly members: number;
  /** Sequence of the newest policy, which it tells members; null while it knows none. */
  readonly policy: number | null;
  /** Members whose node key two machines use. */
  readonly duplicates: readonly DuplicateStatus[];
}

export class Services implements AsyncDisposable {
  readonly #options: ServedServiceOptions;
  readonly #served = new Map<string, ServedService>();
  /** One change at a time: descriptors can arrive by several ways at once. */
  #queue: Promise<void> = Promise.resolve();
  #unwatch: (() => void) | undefined;

  constructor(options: ServedServiceOptions) {
    this.#options = options;
  }

  get(serviceId: string): ServedService | undefined {
    return this.#served.get(serviceId);
  }

  all(): ServedService[] {
    return [...this.#served.values()];
  }

  ofDoor(door: Door): ServedService {
    const service = this.get(door.descriptor.value.serviceId.toString());
    if (service !== undefined) return service;
    throw notServed('the service is no longer served');
  }

  status(): ServedStatus[] {
    return [...this.#served].map(([id, service]) => ({
      id,
      name: service.descriptor.value.name,
      members: service.membership.members().length,
      policy: service.trust.policy?.sequence ?? null,
      duplicates: this.#options.duplicates.of(service.trust.serviceId),
    }));
  }

  /** Serves each of these services from when its descriptor is known; one that fails costs that one. */
  async follow(allowed: ReadonlySet<string>): Promise<void> {
    const { tier, log } = this.#options;
    const serve = (opened: Opened<ServiceDescriptor>): Promise<void> =>
      this.serve(opened).catch((error) => {
        log('serve-failed', { service: opened.value.serviceId, why: String(error) });
      });
    await this.#restore();
    this.#unwatch = tier.records.watch(DESCRIPTOR_RECORD, (opened) => {
      if (allowed.has(opened.value.serviceId.toString())) void serve(opened);
    });
    for (const id of allowed) {
      const known = tier.records.latest(DESCRIPTOR_RECORD, id);
      if (known !== undefined) await serve(known);
    }
  }

  /** Gives the record store what it has lost; what it knows to be old it does not take. */
  async #restore(): Promise<void> {
    const { tier, store, log } = this.#options;
    const kept = await store.services((error) => log('descriptor-damaged', { why: String(error) }));
    for (const each of kept) await holdDescriptor(tier.store, each);
  }

  /** Begins to serve a service, unless it is served already. */
  serve(descriptor: Opened<ServiceDescriptor>): Promise<void> {
    const done = this.#queue.then(() => this.#serve(descriptor));
    this.#queue = done.catch(() => {});
    return done;
  }

  /**
   * Resolves when an allowed service is served as its newest descriptor has it.
   *
   * @throws IcvpnError with why it is not, `ERR_NOT_SERVED` where nothing else is known
   */
  async settled(serviceId: Ed25519PeerId): Promise<void> {
    await this.#queue;
    const known = this.#options.tier.records.latest(DESCRIPTOR_RECORD, serviceId);
    // One that failed when it came is tried again: the cause may be gone.
    if (known !== undefined) await this.serve(known);
    const service = this.get(serviceId.toString());
    if (service === undefined) throw notServed(`this super-peer does not serve ${serviceId}`);
    await service.settled();
  }

  async #serve(descriptor: Opened<ServiceDescriptor>): Promise<void> {
    const id = descriptor.value.serviceId.toString();
    if (this.#served.has(id)) return;
    const service = await ServedService.start(this.#options, descriptor);
    if (service === undefined) return;
    this.#served.set(id, service);
    this.#keep(service);
    this.#options.log('serves', { service: id, sequence: descriptor.value.sequence });
  }

  /** A copy, from which a lost record store is mended. */
  #keep(service: ServedService): void {
    const { store, log } = this.#options;
    const keep = (): void => {
      try {
        store.putService(service.descriptor);
      } catch (error) {
        // The record store has it; the next start mends the copy.
        log('descriptor-not-kept', { service: service.trust.serviceId, why: String(error) });
      }
    };
    keep();
    service.trust.on('change', keep);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unwatch?.();
    await this.#queue;
    await using all = new AsyncDisposableStack();
    for (const service of this.#served.values()) all.use(service);
    this.#served.clear();
  }
}

const notServed = (message: string): IcvpnError =>
  new IcvpnError('ERR_NOT_SERVED', message, 'try another super-peer');
