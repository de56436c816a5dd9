/** The services that one super-peer serves: found by their descriptors, kept up to date by them. */
import type { ServedService as Door } from '../admission/server.ts';
import { IcvpnError } from '../errors.ts';
import { DESCRIPTOR_RECORD } from '../overlay/stored-kinds.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import type { Log } from './log.ts';
import { ServedService, type ServedServiceOptions } from './served-service.ts';
import type { NodeState } from './state.ts';

export interface ServicesOptions extends ServedServiceOptions {
  readonly state: NodeState;
  readonly log: Log;
}

export class Services implements AsyncDisposable {
  readonly #options: ServicesOptions;
  readonly #served = new Map<string, ServedService>();
  /** One change at a time: descriptors can arrive by several ways at once. */
  #queue: Promise<void> = Promise.resolve();
  #unwatch: (() => void) | undefined;

  constructor(options: ServicesOptions) {
    this.#options = options;
  }

  get(serviceId: string): ServedService | undefined {
    return this.#served.get(serviceId);
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

  status(): { id: string; name: string; members: number }[] {
    return [...this.#served].map(([id, service]) => ({
      id,
      name: service.descriptor.value.name,
      members: service.membership.members().length,
    }));
  }

  /** Serves each of these services as soon as its descriptor is known, and follows newer ones. */
  async follow(allowed: ReadonlySet<string>): Promise<void> {
    const { records, state, log } = this.#options;
    this.#unwatch = records.watch(DESCRIPTOR_RECORD, (opened) => {
      if (!allowed.has(opened.value.serviceId.toString())) return;
      void this.serve(opened).catch((error) => log('serve-failed', { why: String(error) }));
    });
    for (const id of allowed) {
      const kept = await state.cache.get(cacheName(id));
      if (kept !== undefined) await records.putSealed(DESCRIPTOR_RECORD, kept);
    }
  }

  /** Begins to serve a service, or takes its newer descriptor. */
  serve(descriptor: Opened<ServiceDescriptor>): Promise<void> {
    const done = this.#queue.then(() => this.#serve(descriptor));
    this.#queue = done.catch(() => {});
    return done;
  }

  async #serve(descriptor: Opened<ServiceDescriptor>): Promise<void> {
    const { state, log } = this.#options;
    const id = descriptor.value.serviceId.toString();
    const running = this.#served.get(id);
    if (running !== undefined) {
      await running.update(descriptor);
    } else {
      const service = await ServedService.start(this.#options, descriptor);
      if (service === undefined) return;
      this.#served.set(id, service);
    }
    await state.cache.put(cacheName(id), descriptor.bytes);
    log('serves', { service: id, sequence: descriptor.value.sequence });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unwatch?.();
    await this.#queue;
    for (const service of this.#served.values()) await service[Symbol.asyncDispose]();
    this.#served.clear();
  }
}

/** Names in the cache may not hold every character; a ServiceID is base58. */
const cacheName = (serviceId: string): string => `descriptor-${serviceId}`;
