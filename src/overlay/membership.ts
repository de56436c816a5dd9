/**
 * Who is in a service, as a super-peer of that service sees it: its own shard, which it writes, and
 * the merged view over the shards of all super-peers that the descriptor names.
 *
 * ```
 *  add, remove ──▶ own shard ──┬── writer ───▶ tier 1, one record per bucket, at most every 250 ms
 *                              │
 *  tier 1: shards ──▶ reader ──┴─▶ claims ──▶ merged view ──▶ 'change'
 *                                  per member and super-peer
 * ```
 *
 * A claim counts while its super-peer is named in the descriptor and the credential in it holds. Of
 * several claims on one member the one with the highest session counts (`records/membership.ts`).
 */
import type { AbortOptions, Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { MAX_MULTIADDRS, type TcpMultiaddr } from '../codec/multiaddr.ts';
import { IcvpnError } from '../errors.ts';
import { Emitter } from '../events.ts';
import { type Credential, CredentialError, checkCredential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import {
  fitIntoBucket,
  MAX_BUCKET_DEPARTED,
  type MembershipShard,
  SHARD_BUCKETS,
} from '../records/membership.ts';
import {
  type Claim,
  Claims,
  difference,
  type Place,
  type PlacedMember,
  placeOf,
} from './claims.ts';
import type { Trust } from './gate.ts';
import type { Records } from './records.ts';
import { ShardReader } from './shard-reader.ts';
import { type ShardSeal, UNSEALED } from './shard-seal.ts';
import { ShardWriter } from './shard-writer.ts';
import { MEMBERSHIP_RECORD } from './stored-kinds.ts';
import { TIMERS, type Timers } from './timers.ts';

/** Milliseconds between looks for credentials that expired. */
const SWEEP = 5_000;
/** Milliseconds that one who was admitted, or was here before a restart, has to attach. */
const ATTACH_LIMIT = 30_000;
/**
 * Milliseconds by which an attachment that another super-peer tells of may be ahead of this node's clock. Whatever is
 * further ahead does not count before its time, so that no number is so high that none comes after it.
 */
const MAX_SKEW = 5_000;
/** Shards asked for at the same time in a refresh. */
const PARALLEL_READS = 8;

export type { Member } from './claims.ts';

export interface MembershipChange {
  /** Members that are new, or of whom something has changed that others act on. */
  readonly joined: readonly PlacedMember[];
  /** Members with a newer credential that says the same as the one before. */
  readonly renewed: readonly PlacedMember[];
  /** Members that are attached at another super-peer, and else as before. */
  readonly moved: readonly PlacedMember[];
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
  /** In clear when left out. */
  readonly seal?: ShardSeal;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
  readonly timers?: Timers;
}

interface MembershipEvents {
  change: [MembershipChange];
  /** Credentials that a super-peer has just told, this one among them; perhaps none that still holds. */
  credentials: [readonly Opened<Credential>[]];
  /** The own shard could not be written; it is tried again. */
  delayed: [unknown];
}

export class Membership extends Emitter<MembershipEvents> {
  readonly serviceId: Ed25519PeerId;
  readonly #options: MembershipOptions;
  readonly #clock: () => number;
  readonly #unwatch: () => void;
  readonly #timers: Timers;
  #callOffSweep: () => void;
  readonly #claims = new Claims();
  /** Since when members of the own shard, that have not attached here, are waited for. */
  readonly #awaited = new Map<string, number>();
  /** Members that are attached here now. */
  readonly #attached = new Set<string>();
  readonly #view = new Map<string, PlacedMember>();
  /** Super-peers whose shards that this node holds have been looked at. */
  readonly #looked = new Set<string>();
  readonly #reader: ShardReader;
  readonly #writer: ShardWriter;

  constructor(options: MembershipOptions) {
    super();
    this.#options = options;
    this.serviceId = options.serviceId;
    this.#clock = options.clock ?? Date.now;
    const { seal = UNSEALED, timers = TIMERS } = options;
    this.#timers = timers;
    this.#reader = new ShardReader({
      seal,
      known: ({ superPeer, bucket }) => this.#claims.of(superPeer, bucket),
      take: (shard, claims) => this.#take(shard, claims),
    });
    this.#writer = new ShardWriter({
      ...options,
      seal,
      timers,
      claims: (bucket) => this.#own(bucket),
      adopt: (shard) => this.#reader.read(shard),
      onDelayed: (error) => this.tell('delayed', error),
    });
    this.#unwatch = options.records.watch(MEMBERSHIP_RECORD, ({ value }) => this.#arrived(value));
    this.#callOffSweep = timers.after(SWEEP, () => this.#sweep());
  }

  /** Writes what is still to be written, then stops. */
  async close(options: AbortOptions = {}): Promise<void> {
    this.#unwatch();
    this.#callOffSweep();
    await this.#writer.close(options.signal);
    await this.#reader.close();
    this.removeAllListeners();
  }

  /** The members of the service, at all super-peers. */
  members(): PlacedMember[] {
    return [...this.#view.values()];
  }

  /** All credentials that super-peers tell and that hold; of a member perhaps several. */
  credentials(): Opened<Credential>[] {
    const trust = this.#options.trust();
    return this.#claims
      .all()
      .flatMap((claim) =>
        claim.present && this.#holds(claim, trust) ? [claim.present.credential] : [],
      );
  }

  /** Whether a credential is of this service and holds now. */
  isGood(credential: Opened<Credential>): boolean {
    return this.#isGood(credential, this.#options.trust());
  }

  member(peer: Ed25519PeerId): PlacedMember | undefined {
    return this.#view.get(peer.toString());
  }

  /**
   * Enters a member into the own shard, or puts a newer credential or other addresses there.
   *
   * @param session number of its attachment, by its clock; left out for one that was admitted just now, which has
   *   30 s to attach. One from a time to come is that of a clock that is ahead: it counts as made now
   * @throws MembershipError `ERR_SHARD_FULL`
   */
  add(credential: Opened<Credential>, multiaddrs: readonly TcpMultiaddr[], session?: number): void {
    const { peerId } = credential.value;
    const { name, bucket } = placeOf(peerId);
    const own = this.#own(bucket);
    const old = own.get(name);
    const others = [...own.values()].flatMap(({ present, peerId: each }) =>
      present && !each.equals(peerId) ? [present.credential.bytes.length] : [],
    );
    if (!fitIntoBucket([...others, credential.bytes.length])) {
      throw new MembershipError(
        'ERR_SHARD_FULL',
        `this super-peer has no room for another member of ${this.serviceId}`,
        'name more super-peers in the service’s descriptor',
      );
    }
    const present = { credential, multiaddrs: multiaddrs.slice(0, MAX_MULTIADDRS) };
    if (session !== undefined) {
      this.#awaited.delete(name);
      this.#attached.add(name);
    } else if (!old?.present) this.#awaited.set(name, this.#clock());
    const number = session === undefined ? old?.session : this.#numberOf(session, { name, bucket });
    this.#claim({ peerId, present, session: number ?? 0 });
  }

  /** @returns the number of an attachment that begins here now: never from a time to come */
  #numberOf(session: number, place: Place): number {
    const now = this.#clock();
    if (session <= now) return session;
    const known = this.#claims.newestSession(place, (claim) => this.#isInTime(claim));
    return Math.max(now, known + 1);
  }

  /** The connection to a member has broken: it may be attached elsewhere now. */
  detached(peer: Ed25519PeerId): void {
    this.#attached.delete(placeOf(peer).name);
  }

  /** Notes that a member has left, unless it has attached elsewhere since. */
  remove(peer: Ed25519PeerId): void {
    const { name, bucket } = placeOf(peer);
    const old = this.#own(bucket).get(name);
    this.#awaited.delete(name);
    this.#attached.delete(name);
    if (old?.present) this.#claim({ peerId: peer, present: undefined, session: old.session });
  }

  /** Reads every shard of the service. */
  async refresh(options: AbortOptions = {}): Promise<void> {
    this.recheck();
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
    await Promise.all([this.#reader.idle(), this.#writer.adopted()]);
  }

  /** Applies a change of `trust`, and expiry. Runs by itself every few seconds. */
  recheck(): void {
    const places = this.#claims.places();
    this.#tidy();
    this.#reader.retry();
    this.#readHeld();
    this.#resolve(places);
  }

  /** What seals has changed: writes the whole own shard again, and looks at what did not open yet. */
  reseal(): void {
    this.#reader.retry();
    for (let bucket = 0; bucket < SHARD_BUCKETS; bucket++) {
      if (this.#own(bucket).size > 0) this.#writer.changed(bucket);
    }
  }

  #sweep(): void {
    this.#callOffSweep = this.#timers.after(SWEEP, () => this.#sweep());
    this.recheck();
  }

  /** Shards that came before this view, or before the descriptor that names their super-peer. */
  #readHeld(): void {
    const { admitters } = this.#options.trust();
    const names = new Map(admitters.map((id) => [id.toString(), id]));
    for (const name of this.#looked) if (!names.has(name)) this.#looked.delete(name);
    for (const [name, superPeer] of names) {
      if (this.#looked.has(name)) continue;
      this.#looked.add(name);
      for (let bucket = 0; bucket < SHARD_BUCKETS; bucket++) {
        const key = [this.serviceId, superPeer, `${bucket}`];
        const held = this.#options.records.latest(MEMBERSHIP_RECORD, ...key);
        if (held) this.#arrived(held.value);
      }
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
    this.#writer.changed(place.bucket);
    this.#resolve([place]);
    this.#tell([claim]);
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
          this.#writer.changed(bucket);
        }
      }
    }
  }

  // ── The shards of others, and the own one from before a restart ──

  #arrived(shard: MembershipShard): void {
    if (!shard.serviceId.equals(this.serviceId)) return;
    if (!this.#options.trust().admitters.some((id) => id.equals(shard.superPeer))) return;
    if (shard.superPeer.equals(this.#options.superPeer)) this.#writer.found(shard);
    else this.#reader.enqueue(shard);
  }

  #take({ superPeer, bucket }: MembershipShard, fresh: readonly Claim[]): void {
    const claims = this.#claims.of(superPeer, bucket);
    const changed = new Map<string, Place>();
    for (const name of claims.keys()) changed.set(name, { name, bucket });
    const adopting = superPeer.equals(this.#options.superPeer);
    if (!adopting) claims.clear();
    else if (claims.size > 0) this.#writer.changed(bucket); // perhaps written without these
    for (const claim of fresh) {
      const place = placeOf(claim.peerId);
      // What this process knows of its own members is newer than what it finds.
      if (place.bucket !== bucket || (adopting && claims.has(place.name))) continue;
      if (adopting && claim.present) this.#awaited.set(place.name, this.#clock());
      claims.set(place.name, claim);
      changed.set(place.name, place);
    }
    this.#resolve(changed.values());
    this.#tell(fresh);
  }

  #tell(claims: readonly Pick<Claim, 'present'>[]): void {
    const told = claims.flatMap(({ present }) => present?.credential ?? []);
    if (told.length > 0) this.tell('credentials', told);
  }

  // ── The merged view ──

  #resolve(places: Iterable<Place>): void {
    const trust = this.#options.trust();
    const joined: PlacedMember[] = [];
    const renewed: PlacedMember[] = [];
    const moved: PlacedMember[] = [];
    const left: Ed25519PeerId[] = [];
    const kinds = { facts: joined, credential: renewed, place: moved };
    for (const place of places) {
      const before = this.#view.get(place.name);
      const after = this.#claims.best(place, trust.admitters, (claim) => this.#holds(claim, trust));
      if (after === undefined) {
        if (this.#reclaim(place, trust)) continue;
        if (before && this.#view.delete(place.name)) left.push(before.peerId);
        continue;
      }
      const change = before ? difference(before, after) : 'facts';
      if (change === 'none') continue;
      this.#view.set(place.name, after);
      kinds[change].push(after);
    }
    if (joined.length + renewed.length + moved.length + left.length > 0) {
      this.tell('change', { joined, renewed, moved, left });
    }
  }

  /**
   * A super-peer says that a member has departed which is attached here: this one knows better.
   *
   * @returns whether it has said so
   */
  #reclaim(place: Place, trust: Trust): boolean {
    const own = this.#own(place.bucket).get(place.name);
    if (!own?.present || !this.#attached.has(place.name) || !this.#holds(own, trust)) return false;
    if (!trust.admitters.some((id) => id.equals(this.#options.superPeer))) return false;
    const newest = this.#claims.newestSession(place, (claim) => this.#holds(claim, trust));
    // A departure that counts is not from a time to come, so that there is always a number after it.
    this.#claim({ ...own, session: newest + 1 });
    return true;
  }

  #holds(claim: Claim, trust: Trust): boolean {
    if (!this.#isInTime(claim)) return false;
    return claim.present === undefined || this.#isGood(claim.present.credential, trust);
  }

  /** A departure is told after the attachment began, and by a clock that may differ by no more. */
  #isInTime({ session, present }: Claim): boolean {
    return session <= this.#clock() + (present === undefined ? 0 : MAX_SKEW);
  }

  #isGood(credential: Opened<Credential>, trust: Trust): boolean {
    const { value } = credential;
    const { revoked, ...grounds } = trust;
    const now = Math.floor(this.#clock() / 1000);
    try {
      const context = { ...grounds, serviceId: this.serviceId, bearer: value.peerId, now };
      checkCredential(credential, context);
    } catch (error) {
      if (error instanceof CredentialError) return false;
      throw error;
    }
    return revoked?.(credential) !== true;
  }
}
