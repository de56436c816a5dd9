/**
 * The records that one node holds for one overlay, and the rule by which they replace each other.
 *
 * A record enters only under the key that is its own identity, signed by who its kind demands, with
 * a sequence not below the highest ever seen under that key (the floor). Floors outlive the records:
 * one that ended or was dropped for lack of space does not come back in an older version. Two
 * records with one sequence are ordered by their bytes, so that every node keeps the same one.
 *
 * No input or output here: what arrives and leaves is for `records.ts` and `dht.ts`.
 */
import { EventEmitter } from 'node:events';
import type { Ed25519PeerId } from '@libp2p/interface';
import { compare } from 'uint8arrays/compare';
import { IcvpnError } from '../errors.ts';
import { type Opened, open } from '../records/envelope.ts';
import { recordKey, type StoredKind } from './stored-kinds.ts';

export type RecordCode =
  /** The key names no kind that this overlay stores, or not the record under it. */
  | 'ERR_RECORD_KEY'
  | 'ERR_RECORD_SIGNER'
  /** A newer version was seen already. */
  | 'ERR_RECORD_OLD'
  | 'ERR_RECORD_EXPIRED'
  | 'ERR_RECORD_FULL'
  | 'ERR_RECORDS_CLOSED';

const REMEDY: Record<RecordCode, string> = {
  ERR_RECORD_KEY: 'the other node runs another version or is broken: update it',
  ERR_RECORD_SIGNER: 'discard the record: it is forged',
  ERR_RECORD_OLD: 'read the newest version, then write one with a higher sequence',
  ERR_RECORD_EXPIRED: 'its signer must publish it anew; check both clocks',
  ERR_RECORD_FULL: 'this node stores no more: add nodes to the overlay',
  ERR_RECORDS_CLOSED: 'start the node again',
};

export class RecordError extends IcvpnError {
  declare readonly code: RecordCode;

  constructor(code: RecordCode, message: string) {
    super(code, message, REMEDY[code]);
  }
}

/** A record in the store. */
export interface Entry<T> {
  readonly kind: StoredKind<T>;
  readonly key: string;
  readonly opened: Opened<T>;
}

/** Whether an entry is of a kind, which is what decides the type of its value. */
export function isOf<T>(kind: StoredKind<T>, entry: Entry<unknown>): entry is Entry<T> {
  return entry.kind === kind;
}

export interface RecordStoreOptions {
  readonly kinds: readonly StoredKind<unknown>[];
  /** Takes records of this service only. */
  readonly scope?: Ed25519PeerId;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
  /** The most records held. */
  readonly maxRecords?: number;
  /** The most bytes of records held. */
  readonly maxBytes?: number;
}

/** Floors are a few dozen bytes each; this many are kept for each record that there is room for. */
const FLOORS_PER_RECORD = 4;

interface RecordStoreEvents {
  /** A record came that is newer than what was held. */
  record: [Entry<unknown>];
}

export class RecordStore extends EventEmitter<RecordStoreEvents> {
  readonly #kinds: ReadonlyMap<string, StoredKind<unknown>>;
  readonly #scope: Ed25519PeerId | undefined;
  readonly #clock: () => number;
  readonly #maxRecords: number;
  readonly #maxBytes: number;
  readonly #entries = new Map<string, Entry<unknown>>();
  readonly #floors = new Map<string, number>();
  #bytes = 0;

  constructor(options: RecordStoreOptions) {
    super();
    this.setMaxListeners(0);
    this.#kinds = new Map(options.kinds.map((kind) => [kind.namespace, kind]));
    this.#scope = options.scope;
    this.#clock = options.clock ?? Date.now;
    this.#maxRecords = options.maxRecords ?? 65_536;
    this.#maxBytes = options.maxBytes ?? 256 * 1024 * 1024;
  }

  /** First parts of the keys that this store takes. */
  get namespaces(): string[] {
    return [...this.#kinds.keys()];
  }

  /** Bytes of all records held. */
  get byteLength(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** @returns the record under `key`, if there is one that has not ended */
  get(key: string): Entry<unknown> | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || !this.#ended(entry)) return entry;
    this.#drop(entry);
    return undefined;
  }

  /** @returns the records of one kind, or of all */
  *entries(kind?: StoredKind<unknown>): IterableIterator<Entry<unknown>> {
    for (const held of [...this.#entries.values()]) {
      const entry = kind === undefined || held.kind === kind ? this.get(held.key) : undefined;
      if (entry !== undefined) yield entry;
    }
  }

  /** The highest sequence ever seen under `key`. */
  floor(key: string): number | undefined {
    return this.#floors.get(key);
  }

  /**
   * Checks a record and keeps it when it is newer than what is held.
   *
   * @returns what is held under `key` afterwards: `bytes`, or the same version that was there
   * @throws RecordError when it must not be kept, EnvelopeError when it is not a record at all
   */
  async accept(key: string, bytes: Uint8Array): Promise<Entry<unknown>> {
    const kind = this.#kinds.get(key.split('/', 2)[1] ?? '');
    if (kind === undefined) throw new RecordError('ERR_RECORD_KEY', `no kind has the key ${key}`);
    const held = this.get(key);
    if (held !== undefined && compare(held.opened.bytes, bytes) === 0) return held;
    const entry = { kind, key, opened: await open(kind.record, bytes) };
    this.#check(entry);
    return this.#keep(entry);
  }

  #check(entry: Entry<unknown>): void {
    const { kind, key, opened } = entry;
    if (recordKey(kind, ...kind.names(opened.value)) !== key) {
      throw new RecordError('ERR_RECORD_KEY', `the record under ${key} is of another key`);
    }
    if (!kind.signer(opened.value).equals(opened.signer)) {
      throw new RecordError('ERR_RECORD_SIGNER', `${opened.signer} may not sign ${key}`);
    }
    if (this.#scope !== undefined && !kind.service(opened.value).equals(this.#scope)) {
      throw new RecordError('ERR_RECORD_KEY', `${key} belongs to another service`);
    }
    if (this.#ended(entry)) throw new RecordError('ERR_RECORD_EXPIRED', `${key} has ended`);
  }

  /** From here on nothing waits, so that of two records that arrive together the newer one stays. */
  #keep(entry: Entry<unknown>): Entry<unknown> {
    const { kind, key, opened } = entry;
    const sequence = kind.sequence(opened.value);
    const held = this.get(key);
    const floor = this.#floors.get(key);
    const order = held && sequence === floor ? compare(opened.bytes, held.opened.bytes) : 1;
    if (held && order === 0) return held;
    if (order < 0 || (floor !== undefined && sequence < floor)) {
      throw new RecordError('ERR_RECORD_OLD', `${key}: sequence ${sequence}, seen was ${floor}`);
    }
    const growth = opened.bytes.length - (held?.opened.bytes.length ?? 0);
    if (this.#bytes + growth > this.#maxBytes || (!held && this.#full())) {
      throw new RecordError('ERR_RECORD_FULL', `no room for ${key}`);
    }
    if (held) this.#drop(held);
    this.#entries.set(key, entry);
    this.#bytes += opened.bytes.length;
    this.#raise(key, sequence);
    this.emit('record', entry);
    return entry;
  }

  #full(): boolean {
    if (this.#entries.size < this.#maxRecords) return false;
    for (const entry of this.#entries.values()) if (this.#ended(entry)) this.#drop(entry);
    return this.#entries.size >= this.#maxRecords;
  }

  #raise(key: string, sequence: number): void {
    this.#floors.delete(key);
    this.#floors.set(key, sequence);
    if (this.#floors.size <= this.#maxRecords * FLOORS_PER_RECORD) return;
    // The oldest floor without a record goes first.
    for (const old of this.#floors.keys()) {
      if (this.#entries.has(old)) continue;
      this.#floors.delete(old);
      return;
    }
  }

  #ended({ kind, opened }: Entry<unknown>): boolean {
    const end = kind.notAfter(opened.value);
    return end !== undefined && this.#clock() >= end * 1000;
  }

  #drop(entry: Entry<unknown>): void {
    if (this.#entries.delete(entry.key)) this.#bytes -= entry.opened.bytes.length;
  }
}
