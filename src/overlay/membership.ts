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
  bucketOf,
  MAX_BUCKET_DEPARTED,
  MAX_BUCKET_MEMBERS,
  type MembershipShard,
  SHARD_BUCKETS,
} from '../records/membership.ts';
import type { Trust } from './gate.ts';
import type { Records } from './records.ts';
import { MEMBERSHIP_RECORD } from './stored-kinds.ts';

/** Milliseconds during which changes to the own shard are collected before they are written. */
const COLLECT = 250;
/** Milliseconds before a write that failed is tried again. */
const RETRY = 3_000;
/** Milliseconds between looks for credentials that expired. */
const SWEEP = 5_000;
/** Shards asked for at the same time in a refresh. */
const PARALLEL_READS = 8;

/** A member of the service, as its directory lists it. */
export interface Member {
  readonly peerId: Ed25519PeerId;
  readonly vmid: string;
  readonly roles: readonly string[];
  readonly ipv4: string;
  readonly ipv6: string;
  readonly multiaddrs: readonly string[];
  /** The super-peer that it is attached to or was admitted by. */
  readonly superPeer: Ed25519PeerId;
  /** End of its credential, in seconds since 1970. */
  readonly notAfter: number;
  /** Its credential, as a signed envelope. */
  readonly credential: Uint8Array;
}

export interface MembershipChange {
  /** Members that are new or have changed. */
  readonly joined: readonly Member[];
  readonly left: readonly Ed25519PeerId[];
}

export class MembershipError extends IcvpnError {}

/** What one super-peer says of one member. */
interface Claim {
  readonly peerId: Ed25519PeerId;
  readonly superPeer: Ed25519PeerId;
  readonly session: number;
  /** Absent when it says that the member departed. */
  readonly present: { credential: Opened<Credential>; multiaddrs: readonly string[] } | undefined;
}

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
  /** By super-peer, then by member. */
  readonly #claims = new Map<string, Map<string, Claim>>();
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
   * @param session number of its attachment; left out for one that was admitted just now
   * @throws MembershipError `ERR_SHARD_FULL`
   */
  add(credential: Opened<Credential>, multiaddrs: readonly string[], session?: number): void {
    const { peerId } = credential.value;
    const old = this.#own().get(peerId.toString());
    const bucket = bucketOf(peerId);
    if (!old?.present && this.#shard(bucket).members.length >= MAX_BUCKET_MEMBERS) {
      throw new MembershipError(
        'ERR_SHARD_FULL',
        `this super-peer has no room for another member of ${this.serviceId}`,
        'name more super-peers in the service’s descriptor',
      );
    }
    const present = { credential, multiaddrs: multiaddrs.slice(0, 8) };
    this.#claim({ peerId, present, session: session ?? old?.session ?? 0 });
  }

  /** Notes that a member has left, unless it has attached elsewhere since. */
  remove(peer: Ed25519PeerId): void {
    const old = this.#own().get(peer.toString());
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
    this.#tidy();
    const peers = new Set(this.#view.keys());
    for (const claims of this.#claims.values()) for (const peer of claims.keys()) peers.add(peer);
    this.#resolve(peers);
  }

  #own(): Map<string, Claim> {
    return this.#claimsOf(this.#options.superPeer);
  }

  #claimsOf(superPeer: Ed25519PeerId): Map<string, Claim> {
    const name = superPeer.toString();
    const claims = this.#claims.get(name) ?? new Map<string, Claim>();
    this.#claims.set(name, claims);
    return claims;
  }

  #claim(claim: Omit<Claim, 'superPeer'>): void {
    const name = claim.peerId.toString();
    const own = this.#own();
    own.delete(name);
    own.set(name, { ...claim, superPeer: this.#options.superPeer });
    this.#dirty.add(bucketOf(claim.peerId));
    this.#schedule(COLLECT);
    this.#resolve([name]);
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

  /** Takes out of the own shard whose credential no longer holds, and the oldest departures. */
  #tidy(): void {
    const own = this.#own();
    const trust = this.#options.trust();
    const departures = new Map<number, number>();
    // The newest stand last.
    for (const claim of [...own.values()].reverse()) {
      const bucket = bucketOf(claim.peerId);
      const departed = (departures.get(bucket) ?? 0) + (claim.present ? 0 : 1);
      departures.set(bucket, departed);
      if (claim.present ? this.#holds(claim, trust) : departed <= MAX_BUCKET_DEPARTED) continue;
      own.delete(claim.peerId.toString());
      this.#dirty.add(bucket);
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

  #shard(bucket: number): Omit<MembershipShard, 'sequence'> {
    const members: MembershipShard['members'] = [];
    const departed: MembershipShard['departed'] = [];
    for (const { peerId, session, present } of this.#own().values()) {
      if (bucketOf(peerId) !== bucket) continue;
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

  // ── The shards of others ──

  #arrived(shard: MembershipShard): void {
    const { serviceId, superPeer } = this.#options;
    if (!shard.serviceId.equals(serviceId) || shard.superPeer.equals(superPeer)) return;
    if (!this.#options.trust().admitters.some((id) => id.equals(shard.superPeer))) return;
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
    const claims = this.#claimsOf(superPeer);
    const before = [...claims.values()].filter(({ peerId }) => bucketOf(peerId) === bucket);
    const changed = new Set(before.map(({ peerId }) => peerId.toString()));
    const known = new Map<string, Opened<Credential>>();
    for (const { present } of before) {
      if (present) known.set(spelling(present.credential.bytes), present.credential);
    }
    const after: Claim[] = departed.map((each) => ({ ...each, superPeer, present: undefined }));
    for (const { credential, multiaddrs, session } of members) {
      const opened = known.get(spelling(credential)) ?? (await openOrSkip(credential));
      if (opened === undefined) continue;
      const { peerId } = opened.value;
      after.push({ peerId, superPeer, session, present: { credential: opened, multiaddrs } });
    }
    for (const { peerId } of before) claims.delete(peerId.toString());
    for (const claim of after) {
      if (bucketOf(claim.peerId) !== bucket) continue;
      claims.set(claim.peerId.toString(), claim);
      changed.add(claim.peerId.toString());
    }
    this.#resolve(changed);
  }

  // ── The merged view ──

  #resolve(peers: Iterable<string>): void {
    const trust = this.#options.trust();
    const joined: Member[] = [];
    const left: Ed25519PeerId[] = [];
    for (const peer of peers) {
      const before = this.#view.get(peer);
      const after = this.#best(peer, trust);
      if (after === undefined) {
        if (before && this.#view.delete(peer)) left.push(before.peerId);
      } else if (before === undefined || !sameMember(before, after)) {
        this.#view.set(peer, after);
        joined.push(after);
      }
    }
    if (joined.length + left.length > 0) this.emit('change', { joined, left });
  }

  #best(peer: string, trust: Trust): Member | undefined {
    let best: Claim | undefined;
    for (const superPeer of trust.admitters) {
      const claim = this.#claims.get(superPeer.toString())?.get(peer);
      if (claim && this.#holds(claim, trust) && (!best || outweighs(claim, best))) best = claim;
    }
    return best && memberOf(best);
  }

  #holds({ present }: Claim, trust: Trust): boolean {
    if (present === undefined) return true;
    const { value } = present.credential;
    const { epoch, admitters, revoked } = trust;
    const now = Math.floor(this.#clock() / 1000);
    try {
      const context = { serviceId: this.serviceId, bearer: value.peerId, epoch, admitters, now };
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

/** At one session a departure counts more; of two presences the newer credential. */
function outweighs(a: Claim, b: Claim): boolean {
  if (a.session !== b.session) return a.session > b.session;
  if (a.present === undefined || b.present === undefined) return a.present === undefined;
  return a.present.credential.value.notBefore > b.present.credential.value.notBefore;
}

function memberOf({ present, superPeer }: Claim): Member | undefined {
  if (present === undefined) return undefined;
  const { value, bytes } = present.credential;
  const { peerId, vmid, roles, ipv4, ipv6, notAfter } = value;
  const { multiaddrs } = present;
  return { peerId, vmid, roles, ipv4, ipv6, multiaddrs, superPeer, notAfter, credential: bytes };
}

function sameMember(a: Member, b: Member): boolean {
  return (
    a.superPeer.equals(b.superPeer) &&
    Buffer.compare(a.credential, b.credential) === 0 &&
    a.multiaddrs.join() === b.multiaddrs.join()
  );
}
