/** One tier on one host: gate, DHT and records, and the contacts that keep it joined. */
import { setTimeout } from 'node:timers/promises';
import type { Ed25519PeerId, PeerId } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { Dht } from '../overlay/dht.ts';
import { Gate, type Trust } from '../overlay/gate.ts';
import type { Host } from '../overlay/host.ts';
import { RecordStore } from '../overlay/record-store.ts';
import { Records } from '../overlay/records.ts';
import {
  DESCRIPTOR_RECORD,
  ENDPOINT_RECORD,
  MEMBERSHIP_RECORD,
  type StoredKind,
} from '../overlay/stored-kinds.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import type { Log } from './log.ts';

/** Of super-peers. */
export const TIER_1: readonly StoredKind<unknown>[] = [DESCRIPTOR_RECORD, MEMBERSHIP_RECORD];

/** Of one service's members. */
export const TIER_2: readonly StoredKind<unknown>[] = [ENDPOINT_RECORD, DESCRIPTOR_RECORD];

export interface TierOptions {
  readonly host: Host;
  readonly kinds: readonly StoredKind<unknown>[];
  /** Stores only records of this service; of every service when left out. */
  readonly scope?: Ed25519PeerId;
  readonly descriptor: () => ServiceDescriptor;
  readonly credential: () => Uint8Array | undefined;
  readonly log: Log;
}

/** Between attempts to reach a contact, in milliseconds: doubled each time, up to the limit. */
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;

export class Tier implements AsyncDisposable {
  readonly gate: Gate;
  readonly records: Records;
  readonly #log: Log;
  readonly #owned: AsyncDisposableStack;
  readonly #closed = new AbortController();
  readonly #contacting = new Map<string, Promise<void>>();

  private constructor(gate: Gate, records: Records, log: Log, owned: AsyncDisposableStack) {
    this.gate = gate;
    this.records = records;
    this.#log = log;
    this.#owned = owned;
  }

  static async start(options: TierOptions): Promise<Tier> {
    await using owned = new AsyncDisposableStack();
    const { host, kinds, scope, descriptor, credential, log } = options;
    const gate = new Gate(host, {
      overlayId: descriptor().serviceId,
      credential,
      trust: () => trustOf(descriptor()),
    });
    await gate.start();
    owned.defer(() => gate.close());
    const store = new RecordStore({ kinds, ...(scope && { scope }) });
    const network = new Dht(gate, store);
    await network.start();
    owned.defer(() => network.close());
    const records = new Records({ store, network });
    owned.defer(() => records.close());
    return new Tier(gate, records, log, owned.move());
  }

  /** The nodes of this tier that are connected and have passed the gate. */
  connected(): PeerId[] {
    return this.gate.host.libp2p.getPeers().filter((each) => this.gate.isAdmitted(each));
  }

  /** Tries to reach a node of the tier until it is reached, while it is not connected. */
  contact(peer: Ed25519PeerId, multiaddrs: Multiaddr[]): void {
    const name = peer.toString();
    if (peer.equals(this.gate.host.peerId) || this.#contacting.has(name)) return;
    const contacting = this.#reach(peer, multiaddrs).finally(() => this.#contacting.delete(name));
    this.#contacting.set(name, contacting);
  }

  async #reach(peer: Ed25519PeerId, multiaddrs: Multiaddr[]): Promise<void> {
    const { signal } = this.#closed;
    for (let wait = FIRST_RETRY_MS; !signal.aborted; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
      try {
        await this.gate.admit(multiaddrs, { signal });
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#log('contact-failed', { peer, why: String(error) });
        await setTimeout(wait, undefined, { signal }).catch(() => {});
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    await Promise.all(this.#contacting.values());
    await this.#owned.disposeAsync();
  }
}

export function trustOf({ epoch, admitters }: ServiceDescriptor): Trust {
  return { epoch, admitters: admitters.map((each) => each.peerId) };
}
