/**
 * One tier on one host: gate, DHT, records kept in files, what is told to everybody, and the contacts
 * that keep it joined.
 *
 * ```
 *  gate ─▶ DHT ─┬─▶ record store ─▶ records ─▶ trust: descriptor, policy, revocations
 *       ─▶ spread┘       │                        │ change
 *                      files                      └─▶ gate and others look again
 * ```
 */
import { once, setMaxListeners } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import type { AbortOptions, Connection, Ed25519PeerId, PeerId } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { dialled } from '../codec/multiaddr.ts';
import { type Audience, everybodyIn, superPeersOf } from '../overlay/audience.ts';
import { Dht } from '../overlay/dht.ts';
import { Gate, type Target } from '../overlay/gate.ts';
import type { Host } from '../overlay/host.ts';
import { RecordFiles } from '../overlay/record-files.ts';
import { RecordStore } from '../overlay/record-store.ts';
import { Records } from '../overlay/records.ts';
import { Refusals } from '../overlay/refusals.ts';
import { holdDescriptor, ServiceTrust } from '../overlay/service-trust.ts';
import { Spread } from '../overlay/spread.ts';
import {
  DESCRIPTOR_RECORD,
  ENDPOINT_RECORD,
  MEMBERSHIP_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
  SPREAD_KINDS,
  type StoredKind,
} from '../overlay/stored-kinds.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import { PeerIdError, parsePeerId } from '../records/peer-id.ts';
import type { Log } from './log.ts';

/** What a tier stores, what of it goes to everybody at once, and who that is. */
export interface TierKind {
  readonly kinds: readonly StoredKind<unknown>[];
  readonly spread: readonly StoredKind<unknown>[];
  audience(gate: Gate, records: Records): Audience;
  /** Whether only records of the tier's own service are stored. */
  readonly ownServiceOnly: boolean;
  /** Nodes of one network in one bucket of the routing table. */
  readonly maxPerNetwork: number | undefined;
}

const OF_SERVICES = [DESCRIPTOR_RECORD, POLICY_RECORD, REVOCATION_RECORD];
/** A member passes news on to this many others. */
const FANOUT = 8;

/** Of super-peers. */
export const TIER_1: TierKind = {
  kinds: [...OF_SERVICES, MEMBERSHIP_RECORD],
  spread: [...SPREAD_KINDS, MEMBERSHIP_RECORD],
  audience: ({ host }, records) =>
    superPeersOf(host.peerId, (service) => {
      const { admitters = [] } = records.latest(DESCRIPTOR_RECORD, service)?.value ?? {};
      return admitters
        .filter(({ peerId }) => !peerId.equals(host.peerId))
        .map(({ peerId, multiaddrs }) => ({
          peerId,
          target: multiaddrs.map((each) => dialled(each, peerId)),
        }));
    }),
  ownServiceOnly: false,
  maxPerNetwork: 2,
};

/** Of one service's members. */
export const TIER_2: TierKind = {
  kinds: [...OF_SERVICES, ENDPOINT_RECORD],
  spread: SPREAD_KINDS,
  audience: (gate) => everybodyIn(gate, { fanout: FANOUT }),
  ownServiceOnly: true,
  maxPerNetwork: undefined,
};

export interface TierOptions {
  readonly kind: TierKind;
  readonly host: Host;
  /** Where records are kept across restarts. */
  readonly directory: string;
  /** The newest one known so far. */
  readonly descriptor: Opened<ServiceDescriptor>;
  readonly credential: () => Uint8Array | undefined;
  /** Other services that this node has to do with. */
  readonly serves?: (service: Ed25519PeerId) => boolean;
  readonly log: Log;
}

/** A node to stay connected to, and addresses of it that end in `/p2p/<PeerID>`. */
export interface Contact {
  readonly peerId: Ed25519PeerId;
  readonly multiaddrs: readonly Multiaddr[];
}

/** Between attempts to reach a contact, in milliseconds: doubled each time, up to the limit. */
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;
/** Each listens for the gate's news. */
const MAX_CONTACTS = 256;

export class Tier implements AsyncDisposable {
  readonly gate: Gate;
  readonly store: RecordStore;
  readonly records: Records;
  readonly trust: ServiceTrust;
  readonly #spread: Spread;
  /** PeerIDs of this node and of those that a super-peer lists as admitted. */
  readonly #listed: Set<string>;
  readonly #log: Log;
  readonly #owned: AsyncDisposableStack;
  readonly #kept = new Map<string, { stop: AbortController; done: Promise<void> }>();

  private constructor(
    parts: {
      gate: Gate;
      store: RecordStore;
      records: Records;
      trust: ServiceTrust;
      spread: Spread;
      listed: Set<string>;
    },
    log: Log,
    owned: AsyncDisposableStack,
  ) {
    this.gate = parts.gate;
    this.store = parts.store;
    this.records = parts.records;
    this.trust = parts.trust;
    this.#spread = parts.spread;
    this.#listed = parts.listed;
    this.#log = log;
    this.#owned = owned;
    const isContact = ({ remotePeer }: Connection) => this.#kept.has(remotePeer.toString());
    owned.defer(parts.gate.host.surplus.except(isContact));
  }

  static async start(options: TierOptions): Promise<Tier> {
    await using owned = new AsyncDisposableStack();
    const { kind, host, descriptor, credential, log } = options;
    const { serviceId } = descriptor.value;
    const listed = new Set([host.peerId.toString()]);
    const store = new RecordStore({
      kinds: kind.kinds,
      isMember: (peer) => listed.has(peer) || isConnected(gate, peer),
      serves: (service) => service.equals(serviceId) || (options.serves?.(service) ?? false),
      ...(kind.ownServiceOnly && { scope: serviceId }),
    });
    const files = await RecordFiles.open(options.directory, store, {
      onFailure: (error) => log('records-not-stored', { why: String(error) }),
    });
    owned.defer(() => files.close());
    await holdDescriptor(store, descriptor);
    // Asked only once the gate is open; by then there is something to ask.
    const gate = new Gate(host, {
      ...{ overlayId: serviceId, credential, trust: () => trust.trust() },
      descriptor: () => trust.descriptor.bytes,
    });
    const { maxPerNetwork } = kind;
    const network = new Dht(gate, store, maxPerNetwork === undefined ? {} : { maxPerNetwork });
    const records = new Records({ store, network });
    const trust = new ServiceTrust(records, descriptor);
    trust.on('change', () => gate.recheck());
    owned.defer(() => trust.close());
    owned.defer(() => gate.close());
    setMaxListeners(MAX_CONTACTS, gate);
    owned.use(new Refusals({ gate, store, trust, log }));
    await gate.start();
    owned.defer(() => network.close());
    await network.start();
    owned.defer(() => records.close());
    const audience = kind.audience(gate, records);
    const spread = new Spread({ gate, store, kinds: kind.spread, audience });
    owned.defer(() => spread.close());
    await spread.start();
    return new Tier({ gate, store, records, trust, spread, listed }, log, owned.move());
  }

  /** The nodes of this tier that are connected and have passed the gate. */
  connected(): PeerId[] {
    return this.gate.peers();
  }

  /** Learns from one node whatever it has that is newer, and tells it the same. @throws GateError */
  learn(from: Target, options: AbortOptions): Promise<void> {
    return this.#spread.sync(from, options);
  }

  /** Takes endpoints of these nodes, whether they are connected or not, and no more of those of the last call. */
  list(members: readonly Ed25519PeerId[]): void {
    this.#listed.clear();
    for (const each of [this.gate.host.peerId, ...members]) this.#listed.add(each.toString());
  }

  /** Stays connected to these nodes, and lets those of the last call go that are not among them. */
  keep(contacts: readonly Contact[]): void {
    const wanted = new Map(contacts.map((each) => [each.peerId.toString(), each]));
    wanted.delete(this.gate.host.peerId.toString());
    for (const [name, kept] of this.#kept) {
      if (!wanted.has(name)) kept.stop.abort();
    }
    for (const [name, contact] of wanted) {
      const kept = this.#kept.get(name);
      if (kept !== undefined && !kept.stop.signal.aborted) continue;
      const stop = new AbortController();
      const done = this.#stay(contact, stop.signal).finally(() => {
        if (this.#kept.get(name)?.stop === stop) this.#kept.delete(name);
      });
      this.#kept.set(name, { stop, done });
    }
  }

  async #stay({ peerId, multiaddrs }: Contact, signal: AbortSignal): Promise<void> {
    for (let wait = FIRST_RETRY_MS; !signal.aborted; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
      try {
        await this.gate.admit([...multiaddrs], { signal });
        wait = FIRST_RETRY_MS;
        await this.#left(peerId, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#log('contact-failed', { peer: peerId, why: String(error) });
      }
      await setTimeout(wait, undefined, { signal }).catch(() => {});
    }
  }

  /** Resolves when a node is no longer connected, or at the signal. */
  async #left(peer: Ed25519PeerId, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.gate.isAdmitted(peer)) {
      await once(this.gate, 'left', { signal }).catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#kept.values()];
    for (const { stop } of all) stop.abort();
    await Promise.all(all.map(({ done }) => done));
    await this.#owned.disposeAsync();
  }
}

/** Whether a node, by its PeerID as text, is connected and has passed the gate. */
function isConnected(gate: Gate, peer: string): boolean {
  try {
    return gate.isAdmitted(parsePeerId(peer));
  } catch (error) {
    if (error instanceof PeerIdError) return false;
    throw error;
  }
}
