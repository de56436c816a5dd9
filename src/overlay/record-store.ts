/**
 * The records that one node holds for one overlay, and the rule by which they replace each other.
 *
 * A record enters only under the key that is its own identity, signed by who its kind demands, with
 * a sequence not below the highest ever seen under that key (the floor). Floors outlive the records:
 * one that ended or was dropped for lack of space does not come back in an older version. Two
 * records with one sequence are ordered by their bytes, so that every node keeps the same one.
 *
 * What must outlive a power cut is in force at once, then on the disk, then told to others and acknowledged:
 *
 * ```
 * accept ─▶ checked, newer ─▶ 'record': in force ─▶ on the disk ─▶ 'held': told on ─▶ accept returns
 *                                                └▶ disk refuses ─▶ 'held' ─▶ ERR_RECORD_NOT_STORED
 * ```
 *
 * A revocation that a full disk refuses therefore counts all the same, and nobody is told that it is held here.
 *
 * No input or output here: what arrives and leaves is for `records.ts` and `dht.ts`, the disk for `record-files.ts`.
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { compare } from 'uint8arrays/compare';
import { IcvpnError } from '../errors.ts';
import { Emitter } from '../events.ts';
import { compareVersions, type ServiceDescriptor, type Version } from '../records/descriptor.ts';
import { EnvelopeError, type Opened, open } from '../records/envelope.ts';
import { SHARD_BUCKETS } from '../records/membership.ts';
import { TOMBSTONE } from '../records/tombstone.ts';
import { type Guest, Guests } from './guests.ts';
import {
  DESCRIPTOR_RECORD,
  ENDPOINT_RECORD,
  keyNames,
  REVOCATION_RECORD,
  recordKey,
  SPREAD_KINDS,
  type StoredKind,
} from './stored-kinds.ts';

export type RecordCode =
  /** The key names no kind that this overlay stores, or not the record under it. */
  | 'ERR_RECORD_KEY'
  | 'ERR_RECORD_SIGNER'
  /** Well signed, but what it says cannot be used. */
  | 'ERR_RECORD_CONTENT'
  /** A newer version was seen already. */
  | 'ERR_RECORD_OLD'
  /** Of an epoch that is over, or of another epoch with the same number. */
  | 'ERR_RECORD_EPOCH'
  /** Its sequence is a time more than a year from now. */
  | 'ERR_RECORD_AHEAD'
  | 'ERR_RECORD_EXPIRED'
  | 'ERR_RECORD_FULL'
  /** It is in force on this node, but not on its disk. */
  | 'ERR_RECORD_NOT_STORED'
  | 'ERR_RECORDS_CLOSED';

const REMEDY: Record<RecordCode, string> = {
  ERR_RECORD_KEY: 'the other node runs another version or is broken: update it',
  ERR_RECORD_SIGNER: 'discard the record: it is forged',
  ERR_RECORD_CONTENT: 'its signer must correct it; or update this node, if it is the older one',
  ERR_RECORD_OLD: 'read the newest version, then write one with a higher sequence',
  ERR_RECORD_EPOCH:
    'its owner’s directory was restored from a copy: read what is published, then begin a new epoch above it',
  ERR_RECORD_AHEAD: 'set the clocks of both nodes, then let its signer publish it anew',
  ERR_RECORD_EXPIRED: 'its signer must publish it anew; check both clocks',
  ERR_RECORD_FULL: 'this node stores no more: add nodes to the overlay',
  ERR_RECORD_NOT_STORED:
    'make room on the disk of that node, then publish again: until then a restart forgets the record',
  ERR_RECORDS_CLOSED: 'start the node again',
};

export class RecordError extends IcvpnError {
  declare readonly code: RecordCode;

  constructor(code: RecordCode, message: string, options?: ErrorOptions) {
    super(code, message, REMEDY[code], options);
  }
}

/** A record in the store. */
export interface Entry<T> {
  readonly kind: StoredKind<T>;
  readonly key: string;
  readonly opened: Opened<T>;
}

/** What is held under a key: a record, or the tombstone of one. */
export interface Held {
  readonly kind: StoredKind<unknown>;
  readonly key: string;
  readonly service: Ed25519PeerId;
  /** 0 for kinds without epochs. */
  readonly epoch: number;
  readonly sequence: number;
  /** The envelope. */
  readonly bytes: Uint8Array;
  /** Absent in a tombstone. */
  readonly entry: Entry<unknown> | undefined;
}

/** A node's change from one epoch of a service to a later one. */
export interface EpochChange {
  /** The one before. */
  readonly epoch: number;
  /** When this node learned of the later one, in milliseconds since 1970. */
  readonly at: number;
}

/** The newest version ever seen under a key. */
export interface Floor extends Readonly<Version> {
  /** The last change of epoch that this node saw, if any. */
  readonly change?: EpochChange | undefined;
}

/** Whether an entry is of a kind, which is what decides the type of its value. */
export function isOf<T>(kind: StoredKind<T>, entry: Entry<unknown>): entry is Entry<T> {
  return entry.kind === kind;
}

export interface RecordStoreOptions {
  readonly kinds: readonly StoredKind<unknown>[];
  /** Takes records of this service only. */
  readonly scope?: Ed25519PeerId;
  /** Whether this node has to do with a service, always the same of one: others have a part of the room. All, if left out. */
  readonly serves?: (service: Ed25519PeerId) => boolean;
  /** Whether a key, a PeerID as text, is one that was admitted: of others no endpoint comes in. All, if left out. */
  readonly isMember?: (peer: string) => boolean;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
  /** The most records held. */
  readonly maxRecords?: number;
  /** The most bytes of records held. */
  readonly maxBytes?: number;
}

/** Milliseconds by which a sequence may be ahead of the clock. */
const MAX_SEQUENCE_AHEAD_MS = 366 * 86_400_000;

/** The third part of a key, where it has one. */
const BUCKETS = new Set(Array.from({ length: SHARD_BUCKETS }, (_, bucket) => String(bucket)));
/** Floors are a few dozen bytes each; this many are kept for each record that there is room for. */
const FLOORS_PER_RECORD = 4;

interface RecordStoreEvents {
  /** A record came that is newer than what was held. */
  record: [Entry<unknown>];
  /**
   * The same, or a tombstone, and what it takes the place of; what is to be on the disk is by then, unless the disk
   * refused it.
   */
  held: [Held, Held | undefined];
  /** There was no room to remember even the floor of a key. */
  forgotten: [string];
}

/** Resolves when a record is on the disk. */
export type Persist = (held: Held) => Promise<void>;

/** A record that is in force but not on the disk. */
interface Unstored {
  readonly held: Held;
  /** Of its writing: what went wrong, or undefined. */
  readonly outcome: Promise<{ readonly error: unknown } | undefined>;
  over: boolean;
}

export class RecordStore extends Emitter<RecordStoreEvents> {
  readonly #kinds: ReadonlyMap<string, StoredKind<unknown>>;
  readonly #scope: Ed25519PeerId | undefined;
  readonly #clock: () => number;
  readonly #maxRecords: number;
  readonly #maxBytes: number;
  readonly #serves: (service: Ed25519PeerId) => boolean;
  readonly #isMember: (peer: string) => boolean;
  /** What is held of services that are not served here. */
  readonly #guests: Guests;
  readonly #held = new Map<string, Held>();
  /** When a version that is held was last heard from others, in milliseconds since 1970. */
  readonly #heard = new Map<string, number>();
  readonly #floors = new Map<string, Floor>();
  readonly #unstored = new Map<string, Unstored>();
  #persist: Persist | undefined;
  #bytes = 0;

  constructor(options: RecordStoreOptions) {
    super();
    this.setMaxListeners(0);
    this.#kinds = new Map(options.kinds.map((kind) => [kind.namespace, kind]));
    this.#scope = options.scope;
    this.#clock = options.clock ?? Date.now;
    this.#maxRecords = options.maxRecords ?? 65_536;
    this.#maxBytes = options.maxBytes ?? 256 * 1024 * 1024;
    this.#serves = options.serves ?? (() => true);
    this.#isMember = options.isMember ?? (() => true);
    this.#guests = new Guests({ records: this.#maxRecords, bytes: this.#maxBytes });
  }

  /** First parts of the keys that this store takes. */
  get namespaces(): string[] {
    return [...this.#kinds.keys()];
  }

  /** Bytes of all records held. */
  get byteLength(): number {
    return this.#bytes;
  }

  /** How many records and tombstones are held. */
  get size(): number {
    return this.#held.size;
  }

  /** @returns the record under `key`, if there is one that has not ended */
  get(key: string): Entry<unknown> | undefined {
    return this.held(key)?.entry;
  }

  /** @returns the record or tombstone under `key`, if there is one that has not ended */
  held(key: string): Held | undefined {
    const held = this.#held.get(key);
    if (held === undefined || !this.#ended(held)) return held;
    this.#drop(held);
    return undefined;
  }

  /** @returns records and tombstones of one kind, or of all */
  *all(kind?: StoredKind<unknown>): IterableIterator<Held> {
    for (const { key, kind: own } of [...this.#held.values()]) {
      const held = kind === undefined || own === kind ? this.held(key) : undefined;
      if (held !== undefined) yield held;
    }
  }

  /** The newest version ever seen under `key`. */
  floor(key: string): Floor | undefined {
    return this.#floors.get(key);
  }

  /** When what is held under `key` was last heard, in milliseconds since 1970. */
  heardAt(key: string): number | undefined {
    return this.#heard.get(key);
  }

  /** From now on durable records are written by `persist` before they are acknowledged. */
  persistBy(persist: Persist | undefined): void {
    this.#persist = persist;
  }

  /** Whether what is held under `key` may be told as held: it is on the disk, where it has to be. */
  isStored(key: string): boolean {
    return !this.#unstored.has(key);
  }

  /** Tries again to write what the disk refused. */
  async storeAgain(): Promise<void> {
    const failed = [...this.#unstored.values()].filter(({ over }) => over);
    await Promise.all(failed.map(({ held }) => this.#write(held)?.outcome));
  }

  /**
   * Takes back what this store held before a restart: the floor is believed, the record is checked again.
   *
   * @throws RecordError, EnvelopeError as `accept` does
   */
  async restore(key: string, floor: Floor, bytes: Uint8Array | undefined): Promise<void> {
    const known = this.#floors.get(key);
    if (known === undefined || compareVersions(floor, known) > 0) this.#raise(key, floor);
    if (bytes) this.#keep(await this.#open(this.#kindOf(key), key, bytes));
  }

  /**
   * Checks a record or tombstone and keeps it when it is newer than what is held.
   *
   * @returns what is held under `key` afterwards: `bytes`, on the disk where its kind is durable
   * @throws RecordError when it must not be kept or was not stored, EnvelopeError when it is not a record at all
   */
  async accept(key: string, bytes: Uint8Array): Promise<Held> {
    const kind = this.#kindOf(key);
    const held = this.held(key);
    if (held === undefined || compare(held.bytes, bytes) !== 0) {
      this.#checkMember(kind, key);
      const opened = await this.#open(kind, key, bytes);
      this.#checkIssuer(opened);
      this.#checkTime(opened);
      return this.#acknowledge(this.#keep(opened));
    }
    this.#heard.set(key, this.#clock());
    return this.#acknowledge(held);
  }

  /** @throws RecordError `ERR_RECORD_NOT_STORED` */
  async #acknowledge(held: Held): Promise<Held> {
    const known = this.#unstored.get(held.key);
    if (known?.held !== held) return held;
    const unstored = known.over ? this.#write(held) : known;
    const failure = await unstored?.outcome;
    if (failure === undefined) return held;
    const { error: cause } = failure;
    const full = cause instanceof IcvpnError && cause.code === 'ERR_DISK_FULL';
    const why = full ? 'the disk is full' : String(cause);
    const message = `not stored, though in force until this node restarts: ${why} (${held.key})`;
    throw new RecordError('ERR_RECORD_NOT_STORED', message, { cause });
  }

  /** @param over called when the record is on the disk, or cannot be */
  #write(held: Held, over: () => void = () => {}): Unstored | undefined {
    const persist = this.#persist;
    if (persist === undefined) return undefined;
    const isCurrent = (): boolean => this.#unstored.get(held.key) === unstored;
    const outcome = persist(held).then(
      () => {
        if (isCurrent()) this.#unstored.delete(held.key);
        over();
        return undefined;
      },
      (error: unknown) => {
        unstored.over = true;
        over();
        return { error };
      },
    );
    const unstored: Unstored = { held, outcome, over: false };
    this.#unstored.set(held.key, unstored);
    return unstored;
  }

  #kindOf(key: string): StoredKind<unknown> {
    const kind = this.#kinds.get(key.split('/', 2)[1] ?? '');
    if (kind === undefined) throw new RecordError('ERR_RECORD_KEY', `no kind has the key ${key}`);
    return kind;
  }

  /** A member that makes up keys by the thousand cannot fill others' rooms with endpoints of theirs, or tombstones. */
  #checkMember(kind: StoredKind<unknown>, key: string): void {
    if (kind !== ENDPOINT_RECORD) return;
    const peer = keyNames(key)[kind.signerPart] ?? '';
    if (this.#isMember(peer)) return;
    throw new RecordError('ERR_RECORD_SIGNER', `${peer} is no member that this node knows`);
  }

  /**
   * A revocation list counts while the descriptor names its issuer. Those of super-peers that were struck off
   * stay as they were then. Where no descriptor is held every list is kept, until one is.
   */
  #checkIssuer({ kind, key, service }: Held): void {
    if (kind !== REVOCATION_RECORD) return;
    const issuer = keyNames(key)[1] ?? '';
    const descriptor = this.get(recordKey(DESCRIPTOR_RECORD, service));
    if (descriptor === undefined || !isOf(DESCRIPTOR_RECORD, descriptor)) return;
    if (isIssuer(descriptor.opened.value, issuer)) return;
    throw new RecordError('ERR_RECORD_KEY', `what ${issuer} revokes does not count`);
  }

  /**
   * Sequences are times in milliseconds, or count on from one: none is so high that no other comes after it. A year, since
   * a clock that is wrong must not make a node's records worthless for as long.
   */
  #checkTime({ key, sequence }: Held): void {
    if (sequence <= this.#clock() + MAX_SEQUENCE_AHEAD_MS) return;
    throw new RecordError('ERR_RECORD_AHEAD', `${key}: sequence ${sequence} is of a time to come`);
  }

  /** Lists that came before any descriptor did are kept only where the first one names their issuer. */
  #dropUnnamed({ entry, service }: Held): void {
    if (entry === undefined || !isOf(DESCRIPTOR_RECORD, entry)) return;
    for (const list of [...this.#held.values()]) {
      if (list.kind !== REVOCATION_RECORD || !list.service.equals(service)) continue;
      if (isIssuer(entry.opened.value, keyNames(list.key)[1] ?? '')) continue;
      this.#drop(list);
      this.#floors.delete(list.key);
      this.tell('forgotten', list.key);
    }
  }

  async #open(kind: StoredKind<unknown>, key: string, bytes: Uint8Array): Promise<Held> {
    const opened = await open(kind.record, bytes).catch((error: unknown) => {
      if (error instanceof EnvelopeError && bytes.length <= TOMBSTONE.maxLength) return error;
      throw error;
    });
    // Only what is no record of the kind may be a tombstone; what is neither is told as the former.
    if (opened instanceof EnvelopeError) return this.#openTombstone(kind, key, bytes, opened);
    const { value, signer } = opened;
    if (recordKey(kind, ...kind.names(value)) !== key) {
      throw new RecordError('ERR_RECORD_KEY', `the record under ${key} is of another key`);
    }
    if (!kind.signer(value).equals(signer)) {
      throw new RecordError('ERR_RECORD_SIGNER', `${signer} may not sign ${key}`);
    }
    checkContent(kind, value);
    const service = kind.service(value);
    const end = kind.notAfter(value) ?? 0;
    if (end * 1000 > this.#clock() + (kind.longest ?? Number.POSITIVE_INFINITY) * 1000) {
      throw new RecordError('ERR_RECORD_CONTENT', `${key} ends too late`);
    }
    const entry = { kind, key, opened };
    const [epoch, sequence] = [kind.epoch?.(value) ?? 0, kind.sequence(value)];
    return this.#inScope({ kind, key, service, epoch, sequence, bytes, entry });
  }

  async #openTombstone(
    kind: StoredKind<unknown>,
    key: string,
    bytes: Uint8Array,
    fault: EnvelopeError,
  ): Promise<Held> {
    const { value, signer } = await open(TOMBSTONE, bytes).catch(() => {
      throw fault;
    });
    const names = keyNames(key);
    // One key has few records, and so few tombstones: others' floors are never pushed out by it.
    const isKey = names.length === kind.parts && BUCKETS.has(names[2] ?? '0');
    if (!isKey || value.key !== key || value.serviceId.toString() !== names[0]) {
      throw new RecordError('ERR_RECORD_KEY', `the tombstone under ${key} is of another key`);
    }
    if (signer.toString() !== names[kind.signerPart]) {
      throw new RecordError('ERR_RECORD_SIGNER', `${signer} may not end ${key}`);
    }
    const { serviceId: service, sequence } = value;
    // It ends what there is, whatever the epoch.
    const epoch = this.#floors.get(key)?.epoch ?? 0;
    return this.#inScope({ kind, key, service, epoch, sequence, bytes, entry: undefined });
  }

  #inScope(held: Held): Held {
    if (this.#scope !== undefined && !held.service.equals(this.#scope)) {
      throw new RecordError('ERR_RECORD_KEY', `${held.key} belongs to another service`);
    }
    if (this.#ended(held)) throw new RecordError('ERR_RECORD_EXPIRED', `${held.key} has ended`);
    return held;
  }

  /** From here on nothing waits, so that of two records that arrive together the newer one stays. */
  #keep(fresh: Held): Held {
    const { kind, key, epoch, sequence, bytes } = fresh;
    const old = this.held(key);
    const floor = this.#floors.get(key);
    if (floor !== undefined && epoch < floor.epoch) {
      throw new RecordError('ERR_RECORD_EPOCH', `${key}: epoch ${epoch}, seen was ${floor.epoch}`);
    }
    if (old && !meansSameEpoch(fresh, old)) {
      throw new RecordError('ERR_RECORD_EPOCH', `${key}: another epoch ${epoch} was seen first`);
    }
    const rank = floor === undefined ? 1 : compareVersions(fresh, floor);
    const order = old && rank === 0 ? precedence(fresh, old) : 1;
    if (old && order === 0) return old;
    if (order < 0 || rank < 0) {
      const seen = floor?.sequence;
      throw new RecordError('ERR_RECORD_OLD', `${key}: sequence ${sequence}, seen was ${seen}`);
    }
    if (!this.#makeRoom(fresh, old)) {
      throw new RecordError('ERR_RECORD_FULL', `no room for ${key}`);
    }
    if (floor === undefined) this.#dropUnnamed(fresh);
    if (old) this.#drop(old);
    this.#held.set(key, fresh);
    this.#heard.set(key, this.#clock());
    this.#bytes += bytes.length;
    if (!this.#serves(fresh.service)) this.#guests.add(guestOf(fresh));
    this.#raise(key, { epoch, sequence, change: this.#changeOf(fresh, floor) });
    const tell = (): void => void (this.#held.get(key) === fresh && this.tell('held', fresh, old));
    const unstored = kind.durable ? this.#write(fresh, tell) : undefined;
    if (unstored === undefined) tell();
    if (fresh.entry) this.tell('record', fresh.entry);
    return fresh;
  }

  /**
   * Makes room of what has ended; tombstones go too, since the floors outlive them. What is served here takes the
   * place of what is not, and what everybody must have that of what its signer writes anew before long. Descriptors,
   * policies and revocation lists of what is served here always get in: no more may be named than there is room for.
   */
  #makeRoom(fresh: Held, old: Held | undefined): boolean {
    const { kind, bytes } = fresh;
    const growth = { bytes: bytes.length - (old?.bytes.length ?? 0), records: old ? 0 : 1 };
    const isServed = this.#serves(fresh.service);
    // What is replaced has been counted.
    if (!isServed && !this.#guests.fits(guestOf(fresh), growth)) return false;
    const fits = (): boolean =>
      this.#bytes + growth.bytes <= this.#maxBytes &&
      this.#held.size + growth.records <= this.#maxRecords;
    if (fits()) return true;
    for (const held of this.#held.values()) {
      const over = held.entry === undefined || this.#ended(held);
      if (over && held !== old) this.#drop(held);
    }
    const isLess = [
      (held: Held) => isServed && !this.#serves(held.service),
      (held: Held) => kind.longest === undefined && held.kind.longest !== undefined,
    ];
    for (const less of isLess) {
      for (const held of this.#held.values()) {
        if (fits()) return true;
        if (held !== old && less(held)) this.#drop(held);
      }
    }
    return fits() || (isServed && this.#isAwaited(fresh));
  }

  /** Whether a record is one of those of which a service has few: one of each kind, and a list of each that it names. */
  #isAwaited({ kind, key, service }: Held): boolean {
    if (!SPREAD_KINDS.includes(kind)) return false;
    const isOwners = keyNames(key)[kind.signerPart] === service.toString();
    return isOwners || this.get(recordKey(DESCRIPTOR_RECORD, service)) !== undefined;
  }

  #changeOf({ epoch }: Held, floor: Floor | undefined): EpochChange | undefined {
    if (floor === undefined || floor.epoch === epoch) return floor?.change;
    return { epoch: floor.epoch, at: this.#clock() };
  }

  #raise(key: string, floor: Floor): void {
    this.#floors.delete(key);
    this.#floors.set(key, floor);
    if (this.#floors.size <= this.#maxRecords * FLOORS_PER_RECORD) return;
    // The oldest floor without a record goes first.
    for (const old of this.#floors.keys()) {
      if (this.#held.has(old)) continue;
      this.#floors.delete(old);
      this.tell('forgotten', old);
      return;
    }
  }

  #ended({ entry }: Held): boolean {
    const end = entry?.kind.notAfter(entry.opened.value);
    return end !== undefined && this.#clock() >= end * 1000;
  }

  #drop(held: Held): void {
    const { key, bytes } = held;
    this.#unstored.delete(key);
    if (this.#held.delete(key)) {
      this.#bytes -= bytes.length;
      if (!this.#serves(held.service)) this.#guests.remove(guestOf(held));
    }
    this.#heard.delete(key);
  }
}

function checkContent<T>(kind: StoredKind<T>, value: NoInfer<T>): void {
  try {
    kind.check?.(value);
  } catch (cause) {
    if (!(cause instanceof IcvpnError)) throw cause;
    throw new RecordError('ERR_RECORD_CONTENT', cause.message, { cause });
  }
}

function guestOf({ kind, key, service, bytes }: Held): Guest {
  const signer = keyNames(key)[kind.signerPart] ?? '';
  return { service: service.toString(), signer, bytes: bytes.length };
}

/** Whether what has one number of epoch has one epoch's secrets. */
function meansSameEpoch(fresh: Held, old: Held): boolean {
  const { kind, epoch } = fresh;
  if (!fresh.entry || !old.entry || epoch !== old.epoch) return true;
  return kind.isSameEpoch?.(fresh.entry.opened.value, old.entry.opened.value) ?? true;
}

const isIssuer = ({ serviceId, admitters }: ServiceDescriptor, issuer: string): boolean =>
  [serviceId, ...admitters.map(({ peerId }) => peerId)].some((each) => each.toString() === issuer);

/** Of two versions with one sequence: a tombstone before a record, else by their bytes. */
function precedence(a: Held, b: Held): number {
  const tombstones = Number(a.entry === undefined) - Number(b.entry === undefined);
  return tombstones === 0 ? compare(a.bytes, b.bytes) : tombstones;
}
