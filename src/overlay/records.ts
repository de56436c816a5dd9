/**
 * The record layer: typed reading and writing of the signed records of one overlay.
 *
 * The store decides what is newer (`record-store.ts`), the network reaches the nodes closest to a
 * key (`dht.ts`). A read takes the answers of all of them and gives the best; an answer that is old,
 * forged or missing counts for nothing, and where one was old the newest is sent around again.
 */
import { setMaxListeners } from 'node:events';
import type { AbortOptions, Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { EnvelopeError, type Opened, open, seal } from '../records/envelope.ts';
import { TOMBSTONE } from '../records/tombstone.ts';
import type { RecordNetwork } from './dht.ts';
import { timeLimit } from './host.ts';
import {
  type Entry,
  type EpochChange,
  isOf,
  RecordError,
  type RecordStore,
} from './record-store.ts';
import { recordKey, type StoredKind } from './stored-kinds.ts';

/** Milliseconds for one read or write. */
const LIMIT = 10_000;
/** Answers looked at in one read: those of the nodes closest to the key and of some on the way. */
const MAX_ANSWERS = 64;
/** Milliseconds after which a record that nobody has stored again is stored again by who holds it. */
const REPUBLISH = 3_600_000;
/** Milliseconds between looks for such records, and how many are stored again in one look. */
const REPUBLISH_LOOK = { interval: 300_000, records: 64 };
/** Corrections under way at the same time. */
const MAX_REPAIRS = 8;

/** Codes of what a node has that is behind. */
const OUTDATED: readonly string[] = ['ERR_RECORD_OLD', 'ERR_RECORD_EPOCH'];

type Names = readonly (string | Ed25519PeerId)[];

export interface RecordsOptions {
  readonly store: RecordStore;
  readonly network: RecordNetwork;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
  /** From 0 to 1, to spread work over time. */
  readonly random?: () => number;
}

export interface PutResult<T> {
  readonly opened: Opened<T>;
  /** Nodes other than this one that confirmed to hold the record. */
  readonly replicas: number;
}

export class Records {
  readonly #store: RecordStore;
  readonly #network: RecordNetwork;
  readonly #clock: () => number;
  readonly #random: () => number;
  readonly #life = new AbortController();
  readonly #repairs = new Map<string, Promise<unknown>>();
  readonly #timer: NodeJS.Timeout;
  #republishing: Promise<unknown> | undefined;

  constructor(options: RecordsOptions) {
    this.#store = options.store;
    this.#network = options.network;
    this.#clock = options.clock ?? Date.now;
    this.#random = options.random ?? Math.random;
    setMaxListeners(Number.POSITIVE_INFINITY, this.#life.signal);
    this.#timer = setInterval(() => {
      this.#republishing ??= this.republish().finally(() => {
        this.#republishing = undefined;
      });
    }, REPUBLISH_LOOK.interval);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    this.#life.abort(new RecordError('ERR_RECORDS_CLOSED', 'the record layer is closed'));
    clearInterval(this.#timer);
    await Promise.allSettled([...this.#repairs.values(), this.#republishing]);
  }

  /**
   * Stores again what has not been heard of for an hour: nodes come and go, and a record's signer may
   * be away for long. Who stores first spares the others, since they hear it. Runs by itself.
   *
   * @returns how many records were stored again
   */
  async republish(): Promise<number> {
    let stored = 0;
    for (const { key, bytes } of this.#store.all()) {
      if (this.#life.signal.aborted || stored === REPUBLISH_LOOK.records) break;
      const age = this.#clock() - (this.#store.heardAt(key) ?? 0);
      // Not all holders in the same minute.
      if (age < REPUBLISH * (0.75 + this.#random() / 2)) continue;
      stored++;
      await this.#store.accept(key, bytes).catch(() => undefined);
      await this.#network
        .store(key, bytes, { signal: this.#limit(undefined) })
        .catch(() => undefined);
    }
    return stored;
  }

  /**
   * A sequence above every one seen under a key. Not below the time in milliseconds either, so that
   * a node that lost its memory goes on above what it wrote before.
   */
  nextSequence<T>(kind: StoredKind<T>, ...names: Names): number {
    return Math.max(
      (this.#store.floor(recordKey(kind, ...names))?.sequence ?? 0) + 1,
      this.#clock(),
    );
  }

  /** Signs `value` and stores it. @throws RecordError `ERR_RECORD_OLD` when a newer one was seen */
  async put<T>(
    kind: StoredKind<T>,
    value: NoInfer<T>,
    key: PrivateKey,
    options: AbortOptions = {},
  ): Promise<PutResult<T>> {
    return this.putSealed(kind, await seal(kind.record, value, key, options), options);
  }

  /** Stores an envelope that somebody signed already. @throws RecordError, EnvelopeError */
  async putSealed<T>(
    kind: StoredKind<T>,
    bytes: Uint8Array,
    options: AbortOptions = {},
  ): Promise<PutResult<T>> {
    const opened = await open(kind.record, bytes, options);
    const key = recordKey(kind, ...kind.names(opened.value));
    await this.#store.accept(key, bytes);
    return { opened, replicas: await this.#send(key, bytes, options) };
  }

  /**
   * Puts a tombstone where a record was: from now on there is none, and no older version comes back.
   *
   * @param names the service's id first, as in the kind's key
   * @returns how many other nodes confirmed to hold it
   */
  async end<T>(
    kind: StoredKind<T>,
    names: readonly [Ed25519PeerId, ...Names],
    signer: PrivateKey,
    options: AbortOptions = {},
  ): Promise<number> {
    const key = recordKey(kind, ...names);
    const sequence = this.nextSequence(kind, ...names);
    const bytes = await seal(TOMBSTONE, { serviceId: names[0], key, sequence }, signer, options);
    await this.#store.accept(key, bytes);
    return this.#send(key, bytes, options);
  }

  /** @returns what this node holds, without asking anybody */
  latest<T>(kind: StoredKind<T>, ...names: Names): Opened<T> | undefined {
    const entry = this.#store.get(recordKey(kind, ...names));
    return entry && isOf(kind, entry) ? entry.opened : undefined;
  }

  /** @returns all of a kind that this node holds of a service, without asking anybody */
  held<T>(kind: StoredKind<T>, service: Ed25519PeerId): Opened<T>[] {
    return [...this.#store.all(kind)].flatMap(({ entry, service: of }) =>
      entry && of.equals(service) && isOf(kind, entry) ? [entry.opened] : [],
    );
  }

  /** @returns the last change of epoch that this node saw under a key, also before a restart */
  epochChange<T>(kind: StoredKind<T>, ...names: Names): EpochChange | undefined {
    return this.#store.floor(recordKey(kind, ...names))?.change;
  }

  /**
   * Asks the nodes closest to a key and gives the newest version that anybody, this node included,
   * has. When time runs out it gives the best of the answers so far.
   */
  async get<T>(
    kind: StoredKind<T>,
    names: Names,
    options: AbortOptions = {},
  ): Promise<Opened<T> | undefined> {
    const key = recordKey(kind, ...names);
    const limit = this.#limit(options.signal);
    let answers = 0;
    let old = false;
    let best: Uint8Array | undefined;
    try {
      for await (const bytes of this.#network.collect(key, { signal: limit })) {
        const taken = await this.#take(key, bytes);
        old ||= taken === 'old' || (best !== undefined && taken !== undefined && taken !== best);
        if (taken !== 'old') best = taken ?? best;
        if (++answers === MAX_ANSWERS) break;
      }
    } catch (error) {
      options.signal?.throwIfAborted();
      this.#life.signal.throwIfAborted();
      if (!limit.aborted) throw error;
    }
    if (old) this.#repair(key);
    return this.latest(kind, ...names);
  }

  /** Calls `listener` with every newer record of a kind, wherever it comes from. @returns how to stop */
  watch<T>(kind: StoredKind<T>, listener: (opened: Opened<T>, key: string) => void): () => void {
    const onRecord = (entry: Entry<unknown>): void => {
      if (isOf(kind, entry)) listener(entry.opened, entry.key);
    };
    this.#store.on('record', onRecord);
    return () => this.#store.off('record', onRecord);
  }

  /** @returns how many others confirmed in time */
  async #send(key: string, bytes: Uint8Array, options: AbortOptions): Promise<number> {
    const signal = this.#limit(options.signal);
    const replicas = await this.#network.store(key, bytes, { signal });
    options.signal?.throwIfAborted();
    this.#life.signal.throwIfAborted();
    return replicas;
  }

  /** @returns what is held now, unless the answer was an old version or no valid one */
  async #take(key: string, bytes: Uint8Array): Promise<Uint8Array | 'old' | undefined> {
    try {
      return (await this.#store.accept(key, bytes)).bytes;
    } catch (error) {
      if (error instanceof EnvelopeError) return undefined;
      if (!(error instanceof RecordError)) throw error;
      return OUTDATED.includes(error.code) ? 'old' : undefined;
    }
  }

  #repair(key: string): void {
    const held = this.#store.held(key);
    if (!held || this.#repairs.has(key) || this.#repairs.size >= MAX_REPAIRS) return;
    const repair = this.#network
      .store(key, held.bytes, { signal: this.#limit(undefined) })
      // Only a courtesy to nodes that are behind: who reads next gets the newest all the same.
      .catch(() => 0)
      .finally(() => this.#repairs.delete(key));
    this.#repairs.set(key, repair);
  }

  #limit(signal: AbortSignal | undefined): AbortSignal {
    return timeLimit(LIMIT, signal, this.#life.signal);
  }
}
