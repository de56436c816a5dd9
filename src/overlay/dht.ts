/**
 * One tier: kad-dht behind a gate (`kad-parts.ts`), under the overlay's own protocol id.
 *
 * No peer of another overlay gets into the routing table, whatever others say of it, and two overlays
 * cannot merge.
 */
import { type AbortOptions, type PeerId, type PeerInfo, start, stop } from '@libp2p/interface';
import { type KadDHT, kadDHT } from '@libp2p/kad-dht';
import { fromString } from 'uint8arrays/from-string';
import { containing } from '../events.ts';
import { Diversity } from './diversity.ts';
import { type Gate, GateError, type Target } from './gate.ts';
import { KadDatastore } from './kad-datastore.ts';
import { KAD, kadParts } from './kad-parts.ts';
import type { RecordStore } from './record-store.ts';

/** Peers per bucket, and replicas of each record. */
export const K = 20;
/** Milliseconds for one question to one peer: at least, at most. */
const REQUEST_LIMITS = { minTimeout: 2_000, maxTimeout: 5_000 };
/** Milliseconds between lookups of this node's own neighbourhood. */
const QUERY_SELF_INTERVAL = 30 * 60_000;
/** Addresses taken from others whose storing is under way. */
const MAX_PENDING = 512;
/** Addresses remembered of one peer. */
const MAX_ADDRESSES = 8;

/** Ends kad-dht's `get()` once all answers are in, before it sends corrections of its own. */
class AllAnswersAreIn extends Error {}

/** Reading and writing bytes at the nodes closest to a key: what the record layer stands on. */
export interface RecordNetwork {
  /** @returns how many nodes confirmed that they hold `bytes`, by the time that `signal` leaves */
  store(key: string, bytes: Uint8Array, options: AbortOptions): Promise<number>;
  /** What the nodes closest to `key` answer, unchecked, as the answers come. */
  collect(key: string, options: AbortOptions): AsyncIterable<Uint8Array>;
}

export interface Lookup {
  /** The peers closest to the key, at most `K`. */
  readonly peers: readonly PeerId[];
  /** How many peers answered on the way. */
  readonly questions: number;
  /** The longest chain of peers of which each was told of by the one before. */
  readonly hops: number;
}

export interface DhtOptions {
  /** Peers of one network (/16, /48) in one bucket; without it, any number. For tier 1. */
  readonly maxPerNetwork?: number;
}

export class Dht implements RecordNetwork {
  readonly #gate: Gate;
  readonly #diversity: Diversity;
  readonly #kad: WholeKad;
  readonly #table = new Map<string, PeerId>();
  /** Addresses heard from others on their way into the peer store, by PeerID. */
  readonly #pending = new Map<string, Promise<void>>();

  constructor(gate: Gate, store: RecordStore, options: DhtOptions = {}) {
    this.#gate = gate;
    const most = options.maxPerNetwork ?? Number.POSITIVE_INFINITY;
    this.#diversity = new Diversity(gate.host.peerId, most);
    const kinds = store.namespaces.map((namespace) => [namespace, () => undefined] as const);
    const last = (): never => {
      throw new AllAnswersAreIn();
    };
    const kad = kadDHT({
      protocol: gate.protocol(KAD),
      logPrefix: `icvpn:kad:${gate.overlayId.toString().slice(-6)}`,
      clientMode: false,
      kBucketSize: K,
      // Members live at private addresses, which kad-dht would filter out.
      peerInfoMapper: (peer) => peer,
      // With the first peer gone, a node must still answer from its own store.
      allowQueryWithZeroPeers: true,
      networkDialTimeout: REQUEST_LIMITS,
      querySelfInterval: QUERY_SELF_INTERVAL,
      // Checking is for the record store, once, where a record enters.
      validators: Object.fromEntries(kinds),
      selectors: Object.fromEntries(store.namespaces.map((namespace) => [namespace, last])),
    })(
      kadParts({
        gate,
        datastore: new KadDatastore(store),
        // kad-dht's lookups ask of those that they are told of only who is closer than the teller: few nodes
        // would not get to know each other by them.
        isWanted: (peer) => this.#table.size < K || this.#table.has(peer.toString()),
        addressesStored: (peer) => this.#pending.get(peer.toString()),
        checkRoom: (peer) => this.#checkRoom(peer),
      }),
    );
    if (!isWhole(kad)) throw new TypeError('this version of kad-dht has no routing table');
    this.#kad = kad;
    kad.addEventListener(
      'peer',
      containing('peer', (event) => {
        if (event instanceof CustomEvent) this.#remember(event.detail);
      }),
    );
    kad.routingTable.addEventListener(
      'peer:add',
      containing('peer:add', (event) => {
        if (event instanceof CustomEvent) this.#onAdd(event.detail);
      }),
    );
    kad.routingTable.addEventListener(
      'peer:remove',
      containing('peer:remove', (event) => {
        if (event instanceof CustomEvent) this.#onRemove(event.detail);
      }),
    );
  }

  async start(): Promise<void> {
    this.#gate.on('admitted', this.#onAdmitted);
    this.#gate.on('left', this.#onLeft);
    await start(this.#kad);
  }

  async close(): Promise<void> {
    this.#gate.off('admitted', this.#onAdmitted);
    this.#gate.off('left', this.#onLeft);
    await stop(this.#kad);
    await this.#gate.unhandle(KAD);
    await Promise.allSettled(this.#pending.values());
  }

  /** How many peers the routing table holds. */
  get size(): number {
    return this.#kad.routingTable.size;
  }

  /** The peers of the routing table. */
  peers(): PeerId[] {
    return [...this.#table.values()];
  }

  /**
   * Enters the overlay through nodes that are in it already.
   *
   * @returns how many of them are in the routing table now
   * @throws GateError of the last one when none is
   */
  async join(targets: readonly Target[], options: AbortOptions = {}): Promise<number> {
    let joined = 0;
    let failure: unknown;
    const enter = async (target: Target): Promise<void> => {
      try {
        await this.#kad.routingTable.add(await this.#gate.peerOf(target, options), options);
        joined++;
      } catch (error) {
        options.signal?.throwIfAborted();
        failure = error;
      }
    };
    await Promise.all(targets.map(enter));
    if (joined === 0 && failure !== undefined) throw failure;
    return joined;
  }

  /** Looks for the peers closest to `key` that answer. */
  async closest(key: string, options: AbortOptions = {}): Promise<Lookup> {
    const peers: PeerId[] = [];
    const hops = new Map<string, number>();
    let questions = 0;
    let deepest = 0;
    for await (const event of this.#kad.getClosestPeers(fromString(key), options)) {
      if (event.name === 'FINAL_PEER') peers.push(event.peer.id);
      if (event.name !== 'PEER_RESPONSE') continue;
      questions++;
      // Who was not told of by another one was in the own routing table.
      const hop = hops.get(event.from.toString()) ?? 1;
      deepest = Math.max(deepest, hop);
      for (const { id } of event.closer) {
        const name = id.toString();
        hops.set(name, Math.min(hops.get(name) ?? hop + 1, hop + 1));
      }
    }
    return { peers, questions, hops: deepest };
  }

  async store(key: string, bytes: Uint8Array, options: AbortOptions): Promise<number> {
    let acknowledged = 0;
    try {
      for await (const event of this.#kad.put(fromString(key), bytes, options)) {
        if (event.name === 'PEER_RESPONSE' && event.messageName === 'PUT_VALUE') acknowledged++;
      }
    } catch (error) {
      if (!options.signal?.aborted) throw error;
    }
    return acknowledged;
  }

  async *collect(key: string, options: AbortOptions): AsyncIterable<Uint8Array> {
    try {
      for await (const event of this.#kad.get(fromString(key), options)) {
        if (event.name === 'PEER_RESPONSE' && event.record) yield event.record.value;
      }
    } catch (error) {
      if (!(error instanceof AllAnswersAreIn)) throw error;
    }
  }

  readonly #onAdmitted = (peer: PeerId): void => {
    // A peer that is in the overlay without serving kad, as a super-peer is in tier 2, stays out.
    this.#kad.routingTable.add(peer).catch(() => undefined);
  };

  readonly #onLeft = (peer: PeerId): void => {
    // One that only closed its connection may be dialled again; one that may not pass goes.
    if (this.#gate.host.libp2p.getConnections(peer).length === 0) return;
    this.#kad.routingTable.remove(peer).catch(() => undefined);
  };

  /** @throws GateError when the table has enough peers of this one's network */
  #checkRoom(peer: PeerId): void {
    const address = this.#gate.host.libp2p.getConnections(peer)[0]?.remoteAddr;
    if (address === undefined || this.#diversity.hasRoom(peer, address)) return;
    throw new GateError('ERR_UNREACHABLE', `enough peers of the network of ${address} are known`);
  }

  #onRemove(peer: PeerId): void {
    this.#table.delete(peer.toString());
    this.#diversity.remove(peer);
  }

  #onAdd(peer: PeerId): void {
    this.#table.set(peer.toString(), peer);
    const address = this.#gate.host.libp2p.getConnections(peer)[0]?.remoteAddr;
    if (address === undefined) return;
    // Two of one network may have been checked at the same time.
    if (this.#diversity.hasRoom(peer, address)) this.#diversity.add(peer, address);
    else this.#kad.routingTable.remove(peer).catch(() => undefined);
  }

  /** Puts addresses that another peer told into the peer store, where dialling looks for them. */
  #remember({ id, multiaddrs }: PeerInfo): void {
    const { peerStore, peerId } = this.#gate.host.components;
    const name = id.toString();
    if (id.equals(peerId) || this.#pending.has(name) || this.#pending.size >= MAX_PENDING) return;
    const kept = multiaddrs.slice(0, MAX_ADDRESSES);
    const merged = peerStore.merge(id, { multiaddrs: kept }).then(
      () => undefined,
      () => undefined,
    );
    this.#pending.set(
      name,
      merged.finally(() => this.#pending.delete(name)),
    );
  }
}

/** kad-dht has these too, but its published type does not show them. */
interface WholeKad extends KadDHT, EventTarget {
  readonly routingTable: EventTarget & {
    readonly size: number;
    /** Adds a peer if it answers. */
    add(peer: PeerId, options?: AbortOptions): Promise<void>;
    remove(peer: PeerId, options?: AbortOptions): Promise<void>;
  };
}

function isWhole(kad: KadDHT): kad is WholeKad {
  const table: unknown = Reflect.get(kad, 'routingTable');
  const has = (name: string): boolean =>
    table instanceof EventTarget && typeof Reflect.get(table, name) === 'function';
  return kad instanceof EventTarget && has('add') && has('remove');
}
