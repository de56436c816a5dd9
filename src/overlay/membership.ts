/**
 * Who is in a service, as a super-peer of that service sees it: its own shard, which it writes, and
 * the merged view over the shards of all super-peers that the descriptor names.
 *
 * ```
 *  add, remove ──▶ own shard ──┬─────────────▶ tier 1, one record per bucket, at most every 250 ms
 *                              │
 *  tier 1: shards of others ───┴─▶ claims ──▶ merged view ──▶ 'change'
 *                                  per member and super-peer
 * ```
 *
 * A claim counts while its super-peer is named in the descriptor and the credential in it holds. Of
 * several claims on one member the one with the highest session counts (`records/membership.ts`).
 */
import { EventEmitter } from 'node:events';
import type { AbortOptions, Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { IcvpnError } from '../errors.ts';
import {
  CREDENTIAL,
  type Credential,
  CredentialError,
  checkCredential,
} from '../records/credential.ts';
import { EnvelopeError, type Opened, open } from '../records/envelope.ts';
import {
  MAX_BUCKET_DEPARTED,
  MAX_BUCKET_MEMBERS,
  type MembershipShard,
  SHARD_BUCKETS,
} from '../records/membership.ts';
import { type Claim, Claims, type Member, type Place, placeOf, sameMember } from './claims.ts';
import type { Trust } from './gate.ts';
import { timeLimit } from './host.ts';
import type { Records } from './records.ts';
import { MEMBERSHIP_RECORD } from './stored-kinds.ts';

/** Milliseconds during which changes to the own shard are collected before they are written. */
const COLLECT = 250;
/** Milliseconds before a write that failed is tried again. */
const RETRY = 3_000;
/** Milliseconds between looks for credentials that expired. */
const SWEEP = 5_000;
/** Milliseconds that one who was admitted, or was here before a restart, has to attach. */
const ATTACH_LIMIT = 30_000;
/** Milliseconds to find the own shard from before a restart. */
const ADOPT_LIMIT = 3_000;
/** Shards asked for at the same time in a refresh. */
const PARALLEL_READS = 8;

export type { Member } from './claims.ts';

export interface MembershipChange {
  /** Members that are new or have changed. */
  readonly joined: readonly Member[];
  readonly left: readonly Ed25519PeerId[];
}

export class MembershipError extends IcvpnError {}

export interface MembershipOptions {
  readonly records: Records;
  readonly serviceId: Ed25519PeerId;
  /** This super-peer, and its key. */
  readonly superPeer: Ed25519PeerId;
  readonly key: PrivateKey;
  /** Of the service's newest descriptor. */
  readonly trust: () => Trust;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
}

interface MembershipEvents {
  change: [MembershipChange];
  /** The own shard could not be written; it is tried again. */
  delayed: [unknown];
}

export class Membership extends EventEmitter<MembershipEvents> {
  readonly serviceId: Ed25519PeerId;
  readonly #options: MembershipOptions;
  readonly #clock: () => number;
  readonly #life = new AbortController();
  readonly #unwatch: () => void;
  readonly #sweep: NodeJS.Timeout;
  readonly #claims = new Claims();
  /** Since when members of the own shard, that have not attached here, are waited for. */
  readonly #awaited = new Map<string, number>();
  /** Buckets of the own shard that this process has read or written. */
  readonly #adopted = new Set<number>();
  readonly #view = new Map<string, Member>();
  /** Shards that came and wait for their check, newest only. */
  readonly #waiting = new Map<string, MembershipShard>();
  #checking: Promise<void> | undefined;
  readonly #dirty = new Set<number>();
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: MembershipOptions) {
    super();
    this.#options = options;
    this.serviceId = options.serviceId;
    this.#clock = options.clock ?? Date.now;
    this.#unwatch = options.records.watch(MEMBERSHIP_RECORD, ({ value }) => this.#arrived(value));
    this.#sweep = setInterval(() => this.recheck(), SWEEP);
    this.#sweep.unref();
  }

  /** Writes what is still to be written, then stops. */
  async close(options: AbortOptions = {}): Promise<void> {
    if (this.#life.signal.aborted) return;
    this.#unwatch();
    clearInterval(this.#sweep);
    clearTimeout(this.#timer);
    if (this.#dirty.size > 0 && !options.signal?.aborted) {
      await this.#writing;
      await this.#write(options.signal);
    }
    this.#life.abort();
    clearTimeout(this.#timer);
    await Promise.allSettled([this.#writing, this.#checking]);
    this.removeAllListeners();
  }

  /** The members of the service, at all super-peers. */
  members(): Member[] {
    return [...this.#view.values()];
  }

  member(peer: Ed25519PeerId): Member | undefined {
    return this.#view.get(peer.toString());
  }

  /**
   * Enters a member into the own shard, or puts a newer credential or other addresses there.
   *
   * @param session number of its attachment; left out for one that was admitted just now, which has
   *   30 s to attach
   * @throws MembershipError `ERR_SHARD_FULL`
   */
  add(credential: Opened<Credential>, multiaddrs: readonly string[], session?: number): void {
    const { peerId } = credential.value;
    const { name, bucket } = placeOf(peerId);
    const own = this.#own(bucket);
    const old = own.get(name);
    const count = [...own.values()].filter((each) => each.present).length;
    if (!old?.present && count >= MAX_BUCKET_MEMBERS) {
      throw new MembershipError(
        'ERR_SHARD_FULL',
        `this super-peer has no room for another member of ${this.serviceId}`,
        'name more super-peers in the service’s descriptor',
      );
    }
    const present = { credential, multiaddrs: multiaddrs.slice(0, 8) };
    if (session !== undefined) this.#awaited.delete(name);
    else if (!old?.present) this.#awaited.set(name, this.#clock());
    this.#claim({ peerId, present, session: session ?? old?.session ?? 0 });
  }

  /** Notes that a member has left, unless it has attached elsewhere since. */
  remove(peer: Ed25519PeerId): void {
    const { name, bucket } = placeOf(peer);
    const old = this.#own(bucket).get(name);
    this.#awaited.delete(name);
    if (old?.present) this.#claim({ peerId: peer, present: undefined, session: old.session });
  }

  /** Reads every shard of the service. */
  async refresh(options: AbortOptions = {}): Promise<void> {
    const names = this.#options
      .trust()
      .admitters.flatMap((superPeer) =>
        Array.from({ length: SHARD_BUCKETS }, (_, i) => [this.serviceId, superPeer, `${i}`]),
      );
    const read = async (): Promise<void> => {
      for (let next = names.pop(); next; next = names.pop()) {
        await this.#options.records.get(MEMBERSHIP_RECORD, next, options);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_READS }, read));
    await this.#checking;
  }

  /** Applies a change of `trust`, and expiry. Runs by itself every few seconds. */
  recheck(): void {
    const places = this.#claims.places();
    this.#tidy();
    for (const superPeer of this.#options.trust().admitters) {
      if (!this.#claims.knows(superPeer)) this.#readHeld(superPeer);
    }
    this.#resolve(places);
  }

  /** Shards that came before the descriptor that names their super-peer. */
  #readHeld(superPeer: Ed25519PeerId): void {
    for (let bucket = 0; bucket < SHARD_BUCKETS; bucket++) {
      const names = [this.serviceId, superPeer, `${bucket}`];
      const held = this.#options.records.latest(MEMBERSHIP_RECORD, ...names);
      if (held) this.#arrived(held.value);
    }
  }

  #own(bucket: number): Map<string, Claim> {
    return this.#claims.of(this.#options.superPeer, bucket);
  }

  #claim(claim: Omit<Claim, 'superPeer'>): void {
    const place = placeOf(claim.peerId);
    const own = this.#own(place.bucket);
    own.delete(place.name);
    own.set(place.name, { ...claim, superPeer: this.#options.superPeer });
    this.#dirty.add(place.bucket);
    this.#schedule(COLLECT);
    this.#resolve([place]);
  }

  // ── The own shard ──

  #schedule(delay: number): void {
    if (this.#timer !== undefined || this.#writing !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#writing = this.#write(undefined).then((complete) => {
        this.#writing = undefined;
        if (this.#dirty.size === 0 || this.#life.signal.aborted) return;
        this.#schedule(complete ? COLLECT : RETRY);
      });
    }, delay);
  }

  /** Takes out of the own shard whose credential no longer holds, who never came, old departures. */
  #tidy(): void {
    const trust = this.#options.trust();
    const late = this.#clock() - ATTACH_LIMIT;
    for (let bucket = 0; bucket < SHARD_BUCKETS; bucket++) {
      const own = this.#own(bucket);
      let departed = 0;
      // The newest stand last.
      for (const [name, claim] of [...own].reverse()) {
        if (claim.present && (this.#awaited.get(name) ?? late) < late) this.remove(claim.peerId);
        else {
          if (!claim.present) departed++;
          if (claim.present ? this.#holds(claim, trust) : departed <= MAX_BUCKET_DEPARTED) continue;
          own.delete(name);
          this.#awaited.delete(name);
          this.#dirty.add(bucket);
        }
      }
    }
    if (this.#dirty.size > 0) this.#schedule(COLLECT);
  }

  /** @returns whether every bucket was written */
  async #write(signal: AbortSignal | undefined): Promise<boolean> {
    const { records, key, superPeer } = this.#options;
    const buckets = [...this.#dirty];
    this.#dirty.clear();
    let complete = true;
    await Promise.all(
      buckets.map(async (bucket) => {
        const names = [this.serviceId, superPeer, String(bucket)];
        await this.#adopt(bucket, names);
        const sequence = records.nextSequence(MEMBERSHIP_RECORD, ...names);
        try {
          const shard = { ...this.#shard(bucket), sequence };
          await records.put(MEMBERSHIP_RECORD, shard, key, signal ? { signal } : {});
        } catch (error) {
          if (this.#life.signal.aborted) return;
          this.#dirty.add(bucket);
          complete = false;
          this.emit('delayed', error);
        }
      }),
    );
    return complete;
  }

  /** Before the first write of a bucket: takes over what this super-peer wrote before a restart. */
  async #adopt(bucket: number, names: readonly (string | Ed25519PeerId)[]): Promise<void> {
    if (this.#adopted.has(bucket)) return;
    this.#adopted.add(bucket);
    const signal = timeLimit(ADOPT_LIMIT, this.#life.signal);
    const found = await this.#options.records
      .get(MEMBERSHIP_RECORD, names, { signal })
      .catch(() => undefined);
    if (found) await this.#read(found.value);
  }

  #shard(bucket: number): Omit<MembershipShard, 'sequence'> {
    const members: MembershipShard['members'] = [];
    const departed: MembershipShard['departed'] = [];
    for (const { peerId, session, present } of this.#own(bucket).values()) {
      if (present === undefined) departed.push({ peerId, session });
      else {
        const { credential, multiaddrs } = present;
        members.push({ credential: credential.bytes, multiaddrs: [...multiaddrs], session });
      }
    }
    const { serviceId } = this;
    const { superPeer } = this.#options;
    // The newest stand last.
    return {
      serviceId,
      superPeer,
      bucket,
      members,
      departed: departed.slice(-MAX_BUCKET_DEPARTED),
    };
  }

  // ── The shards of others, and the own one from before a restart ──

  #arrived(shard: MembershipShard): void {
    if (!shard.serviceId.equals(this.serviceId)) return;
    if (!this.#options.trust().admitters.some((id) => id.equals(shard.superPeer))) return;
    if (shard.superPeer.equals(this.#options.superPeer)) {
      if (this.#adopted.has(shard.bucket)) return;
      this.#adopted.add(shard.bucket);
    }
    this.#waiting.set(`${shard.superPeer}/${shard.bucket}`, shard);
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
  }

  async #check(): Promise<void> {
    for (const [name, shard] of this.#waiting) {
      if (this.#life.signal.aborted) return;
      this.#waiting.delete(name);
      await this.#read(shard);
    }
  }

  async #read({ superPeer, bucket, members, departed }: MembershipShard): Promise<void> {
    const claims = this.#claims.of(superPeer, bucket);
    const known = new Map<string, Opened<Credential>>();
    for (const { present } of claims.values()) {
      if (present) known.set(spelling(present.credential.bytes), present.credential);
    }
    const fresh: Claim[] = departed.map((each) => ({ ...each, superPeer, present: undefined }));
    for (const { credential, multiaddrs, session } of members) {
      const opened = known.get(spelling(credential)) ?? (await openOrSkip(credential));
      if (opened === undefined) continue;
      const { peerId } = opened.value;
      fresh.push({ peerId, superPeer, session, present: { credential: opened, multiaddrs } });
    }
    const changed = new Map<string, Place>();
    for (const name of claims.keys()) changed.set(name, { name, bucket });
    const adopting = superPeer.equals(this.#options.superPeer);
    if (!adopting) claims.clear();
    for (const claim of fresh) {
      const place = placeOf(claim.peerId);
      // What this process knows of its own members is newer than what it finds.
      if (place.bucket !== bucket || (adopting && claims.has(place.name))) continue;
      if (adopting && claim.present) this.#awaited.set(place.name, this.#clock());
      claims.set(place.name, claim);
      changed.set(place.name, place);
    }
    this.#resolve(changed.values());
  }

  // ── The merged view ──

  #resolve(places: Iterable<Place>): void {
    const trust = this.#options.trust();
    const joined: Member[] = [];
    const left: Ed25519PeerId[] = [];
    for (const place of places) {
      const before = this.#view.get(place.name);
      const after = this.#claims.best(place, trust.admitters, (claim) => this.#holds(claim, trust));
      if (after === undefined) {
        if (before && this.#view.delete(place.name)) left.push(before.peerId);
      } else if (before === undefined || !sameMember(before, after)) {
        this.#view.set(place.name, after);
        joined.push(after);
      }
    }
    if (joined.length + left.length > 0) this.emit('change', { joined, left });
  }

  #holds({ present }: Claim, trust: Trust): boolean {
    if (present === undefined) return true;
    const { value } = present.credential;
    const { epoch, previousEpochUntil, admitters, revoked } = trust;
    const now = Math.floor(this.#clock() / 1000);
    try {
      const context = {
        serviceId: this.serviceId,
        bearer: value.peerId,
        epoch,
        previousEpochUntil,
        admitters,
        now,
      };
      checkCredential(present.credential, context);
    } catch (error) {
      if (error instanceof CredentialError) return false;
      throw error;
    }
    return revoked?.(present.credential) !== true;
  }
}

/** The bytes as a key of a map. */
const spelling = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

async function openOrSkip(bytes: Uint8Array): Promise<Opened<Credential> | undefined> {
  try {
    return await open(CREDENTIAL, bytes);
  } catch (error) {
    if (error instanceof EnvelopeError) return undefined;
    throw error;
  }
}
