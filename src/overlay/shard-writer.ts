/** Writes a super-peer's own membership shard into tier 1: changed buckets only, collected. */
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import {
  encodeShardContent,
  MAX_BUCKET_DEPARTED,
  type MembershipShard,
  type ShardContent,
} from '../records/membership.ts';
import type { Claim } from './claims.ts';
import { timeLimit } from './host.ts';
import type { Records } from './records.ts';
import type { ShardSeal } from './shard-seal.ts';
import { MEMBERSHIP_RECORD } from './stored-kinds.ts';
import type { Timers } from './timers.ts';

/** Milliseconds during which changes to the own shard are collected before they are written, at least. */
const COLLECT = 250;
/**
 * How many times as long as the last write took: each goes to every super-peer, so that one which many
 * join at once, or which is slow, would otherwise do little else.
 */
const REST = 8;
/** Milliseconds, at most. */
const MAX_COLLECT = 2_000;
/** Milliseconds before a write that failed is tried again. */
const RETRY = 3_000;
/** Milliseconds to find the own shard from before a restart. */
const ADOPT_LIMIT = 3_000;

export interface ShardWriterOptions {
  readonly records: Records;
  readonly serviceId: Ed25519PeerId;
  readonly superPeer: Ed25519PeerId;
  /** The super-peer's. */
  readonly key: PrivateKey;
  readonly seal: Pick<ShardSeal, 'seal'>;
  /** The own claims in a bucket, newest last. */
  readonly claims: (bucket: number) => ReadonlyMap<string, Claim>;
  /** Takes over what this super-peer wrote before a restart. */
  readonly adopt: (shard: MembershipShard) => Promise<void>;
  readonly timers: Timers;
  /** The shard could not be written; it is tried again. */
  readonly onDelayed: (error: unknown) => void;
}

export class ShardWriter {
  readonly #options: ShardWriterOptions;
  readonly #life = new AbortController();
  readonly #dirty = new Set<number>();
  /** Buckets that this process has begun to read or to write. */
  readonly #adopted = new Set<number>();
  /** Versions from before a restart that are being opened, by bucket. */
  readonly #adopting = new Map<number, Promise<void>>();
  #writing: Promise<void> | undefined;
  #callOff: (() => void) | undefined;
  /** No write begins before, by the monotonic clock. */
  #restUntil = 0;

  constructor(options: ShardWriterOptions) {
    this.#options = options;
  }

  /** Notes that a bucket has changed. */
  changed(bucket: number): void {
    this.#dirty.add(bucket);
    this.#schedule(COLLECT);
  }

  /** A version of the own shard has come. Only the first of a bucket is from before a restart, and is taken over. */
  found(shard: MembershipShard): void {
    const { bucket } = shard;
    if (this.#isFirst(bucket)) this.#adopting.set(bucket, this.#take(shard));
  }

  /** Resolves when nothing from before a restart is being opened. */
  async adopted(): Promise<void> {
    await Promise.all(this.#adopting.values());
  }

  #isFirst(bucket: number): boolean {
    if (this.#adopted.has(bucket)) return false;
    this.#adopted.add(bucket);
    return true;
  }

  async #take(shard: MembershipShard): Promise<void> {
    try {
      await this.#options.adopt(shard);
    } catch (error) {
      this.#options.onDelayed(error);
    } finally {
      this.#adopting.delete(shard.bucket);
    }
  }

  /** Writes what is still to be written, unless `signal` is aborted, then stops. */
  async close(signal: AbortSignal | undefined): Promise<void> {
    this.#callOff?.();
    if (this.#dirty.size > 0 && !signal?.aborted) {
      await this.#writing;
      await this.#write(signal);
    }
    this.#life.abort();
    this.#callOff?.();
    await Promise.allSettled([this.#writing, ...this.#adopting.values()]);
  }

  #schedule(delay: number): void {
    if (this.#callOff !== undefined || this.#writing !== undefined) return;
    if (this.#life.signal.aborted) return;
    const { timers } = this.#options;
    this.#callOff = timers.after(Math.max(delay, this.#restUntil - timers.now()), () => {
      this.#callOff = undefined;
      const begin = timers.now();
      this.#writing = this.#write(undefined).then((complete) => {
        this.#writing = undefined;
        const end = timers.now();
        this.#restUntil = end + Math.min(MAX_COLLECT, REST * (end - begin));
        if (this.#dirty.size > 0) this.#schedule(complete ? COLLECT : RETRY);
      });
    });
  }

  /** @returns whether every bucket was written */
  async #write(signal: AbortSignal | undefined): Promise<boolean> {
    const { records, key, seal, serviceId, superPeer, onDelayed } = this.#options;
    const buckets = [...this.#dirty];
    this.#dirty.clear();
    let complete = true;
    await Promise.all(
      buckets.map(async (bucket) => {
        const names = [serviceId, superPeer, String(bucket)];
        if (this.#isFirst(bucket)) await this.#adopt(names);
        else await this.#adopting.get(bucket);
        try {
          const content = await seal.seal(encodeShardContent(this.#content(bucket)));
          // Closed meanwhile: a successor may have written, whose word must not be followed by an older one.
          this.#life.signal.throwIfAborted();
          const sequence = records.nextSequence(MEMBERSHIP_RECORD, ...names);
          const shard = { serviceId, superPeer, bucket, sequence, content };
          await records.put(MEMBERSHIP_RECORD, shard, key, signal ? { signal } : {});
        } catch (error) {
          if (this.#life.signal.aborted) return;
          this.#dirty.add(bucket);
          complete = false;
          onDelayed(error);
        }
      }),
    );
    return complete;
  }

  /** Before the first write of a bucket: that must not wipe out what stands there. */
  async #adopt(names: readonly (string | Ed25519PeerId)[]): Promise<void> {
    const signal = timeLimit(ADOPT_LIMIT, this.#life.signal);
    const found = await this.#options.records
      .get(MEMBERSHIP_RECORD, names, { signal })
      .catch(() => undefined);
    if (found) await this.#take(found.value);
  }

  #content(bucket: number): ShardContent {
    const members: ShardContent['members'] = [];
    const departed: ShardContent['departed'] = [];
    for (const { peerId, session, present } of this.#options.claims(bucket).values()) {
      if (present === undefined) departed.push({ peerId, session });
      else {
        const { credential, multiaddrs } = present;
        members.push({ credential: credential.bytes, multiaddrs: [...multiaddrs], session });
      }
    }
    // The newest stand last.
    return { members, departed: departed.slice(-MAX_BUCKET_DEPARTED) };
  }
}
