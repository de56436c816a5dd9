/** The services that one super-peer serves: found by their descriptors, which they then follow. */
import type { ServedService as Door } from '../admission/server.ts';
import { IcvpnError } from '../errors.ts';
import { holdDescriptor } from '../overlay/service-trust.ts';
import { DESCRIPTOR_RECORD } from '../overlay/stored-kinds.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import { ServedService, type ServedServiceOptions } from './served-service.ts';

/** One service, as `icvpn status` of a super-peer shows it. */
export interface ServedStatus {
  readonly id: string;
  readonly name: string;
  readonly members: number;
  /** Sequence of the newest policy, which it tells members; null while it knows none. */
  readonly policy: number | null;
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
    throw new IcvpnError(
      'ERR_NOT_SERVED',
      'the service is no longer served',
      'try another super-peer',
    );
  }

  status(): ServedStatus[] {
    return [...this.#served].map(([id, service]) => ({
      id,
      name: service.descriptor.value.name,
      members: service.membership.members().length,
      policy: service.trust.policy?.sequence ?? null,
    }));
  }

  /** Serves each of these services from when its descriptor is known. */
  async follow(allowed: ReadonlySet<string>): Promise<void> {
    const { tier, store, log } = this.#options;
    this.#unwatch = tier.records.watch(DESCRIPTOR_RECORD, (opened) => {
      if (!allowed.has(opened.value.serviceId.toString())) return;
      void this.serve(opened).catch((error) => log('serve-failed', { why: String(error) }));
    });
    for (const kept of await store.services()) {
      const { serviceId } = kept.value;
      if (!allowed.has(serviceId.toString())) continue;
      // Neither of the two places may know an older one than the other.
      await holdDescriptor(tier.store, kept);
      await this.serve(tier.records.latest(DESCRIPTOR_RECORD, serviceId) ?? kept);
    }
  }

  /** Begins to serve a service, unless it is served already. */
  serve(descriptor: Opened<ServiceDescriptor>): Promise<void> {
    const done = this.#queue.then(() => this.#serve(descriptor));
    this.#queue = done.catch(() => {});
    return done;
  }

  /** Resolves when every descriptor that has arrived so far is served. */
  settled(): Promise<void> {
    return this.#queue;
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

  /** What is served is served again after a restart, at once and whatever the overlay then knows. */
  #keep(service: ServedService): void {
    const { store } = this.#options;
    store.putService(service.descriptor);
    service.trust.on('change', () => store.putService(service.descriptor));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unwatch?.();
    await this.#queue;
    for (const service of this.#served.values()) await service[Symbol.asyncDispose]();
    this.#served.clear();
  }
}
