/**
 * Brings the records that concern everybody, such as descriptor, policy and revocations, to everybody,
 * without waiting for anybody to ask: `/icvpn/<overlay>/spread/1.0.0`.
 *
 * ```
 *  push, at once when a newer record came         sync, when two nodes meet and now and then
 *   │ record …                │                    │ have {key, sequence} …        │
 *   ├────────────────────────▶│ newer to it?       ├──────────────────────────────▶│
 *                             │ then it pushes on  │        record … that are newer│
 *                             ▼                    │◀──────────────────────────────┤
 *                                                  │             want {key …}, end │
 *                                                  │◀──────────────────────────────┤
 *                                                  │ record …, end                 │
 *                                                  ├──────────────────────────────▶│
 * ```
 *
 * A record is pushed on only by nodes to which it was new, so that a wave ends by itself.
 */
import type { AbortOptions, Ed25519PeerId, PeerId, Stream } from '@libp2p/interface';
import {
  bytes,
  type Infer,
  message,
  optional,
  repeated,
  required,
  string,
  uint32,
  uint53,
} from '../codec/protobuf.ts';
import { Frames } from './frames.ts';
import type { Gate, Target } from './gate.ts';
import { timeLimit } from './host.ts';
import { type Held, RecordError, type RecordStore } from './record-store.ts';
import { MEMBERSHIP_RECORD, recordKey, type StoredKind } from './stored-kinds.ts';

const SPREAD = 'spread/1.0.0';
/** Milliseconds for one push or sync. */
const LIMIT = 20_000;
/** Milliseconds between syncs with a random peer, give or take a half. */
const SYNC_INTERVAL = 60_000;
/** Pushes under way at the same time. */
const PARALLEL = 32;
/** Peers that wait for a push, at most; the rest gets the record in a sync. */
const MAX_WAITING = 8_192;
/** Keys in one message, and records in one stream. */
const MAX_KEYS = 1_024;
const MAX_RECORD = 1024 * 1024;

const key = () => string({ min: 1, max: 512 });

const FRAME = message({
  record: optional(
    1,
    message({ key: required(1, key()), bytes: required(2, bytes({ max: MAX_RECORD })) }),
  ),
  have: repeated(2, message({ key: required(1, key()), sequence: required(2, uint53()) }), {
    max: MAX_KEYS,
  }),
  want: repeated(3, key(), { max: MAX_KEYS }),
  /** 1 in the message that asks for a sync, and in the one that ends its answer. */
  sync: optional(4, uint32({ max: 1 })),
});
type Frame = Infer<typeof FRAME>;

const FRAMES = { reads: FRAME, writes: FRAME, maxLength: MAX_RECORD + 1024 };

const frame = (fields: Partial<Frame>): Frame => ({
  record: undefined,
  have: [],
  want: [],
  sync: undefined,
  ...fields,
});

/** Whom records concern. */
export interface Audience {
  /** Whom to push a record to. */
  targets(record: Held): readonly Target[];
  /** Whether `peer` may learn of the records of a service. */
  concerns(service: Ed25519PeerId, peer: PeerId): boolean;
}

/**
 * Everybody who passed the gate of a service.
 *
 * @param fanout peers that a record is pushed on to, drawn anew each time; all of them on a super-peer
 */
export function everybodyIn(gate: Gate, fanout: number = Number.POSITIVE_INFINITY): Audience {
  return {
    targets: () => draw(gate.peers(), fanout),
    concerns: (service) => service.equals(gate.overlayId),
  };
}

/**
 * The super-peers of each record's service, in tier 1.
 *
 * A membership shard comes from its own super-peer alone: there is a new one every moment, and if all
 * passed each on, n super-peers would send it n² times. Who misses one gets it in a sync.
 */
export function superPeersOf(
  self: Ed25519PeerId,
  addresses: (service: Ed25519PeerId) => readonly { peerId: Ed25519PeerId; target: Target }[],
): Audience {
  const passesOn = ({ kind, key, service }: Held): boolean =>
    kind !== MEMBERSHIP_RECORD || key.startsWith(`${recordKey(kind, service, self)}/`);
  return {
    targets: (record) =>
      passesOn(record) ? addresses(record.service).map(({ target }) => target) : [],
    concerns: (service, peer) => addresses(service).some(({ peerId }) => peerId.equals(peer)),
  };
}

export interface SpreadOptions {
  readonly gate: Gate;
  readonly store: RecordStore;
  readonly kinds: readonly StoredKind<unknown>[];
  readonly audience: Audience;
}

export class Spread {
  readonly #options: SpreadOptions;
  readonly #life = new AbortController();
  /** What waits to be pushed, by target. */
  readonly #waiting = new Map<string, { target: Target; records: Map<string, Held> }>();
  readonly #pushing = new Set<Promise<void>>();
  /** From whom the record comes that is being checked, by key. */
  readonly #sources = new Map<string, PeerId>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SpreadOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { gate, store } = this.#options;
    store.on('held', this.#onHeld);
    gate.on('admitted', this.#onAdmitted);
    await gate.handle(SPREAD, (stream, connection) => this.#serve(stream, connection.remotePeer), {
      maxInboundStreams: 4,
    });
    this.#schedule();
  }

  async close(): Promise<void> {
    const { gate, store } = this.#options;
    store.off('held', this.#onHeld);
    gate.off('admitted', this.#onAdmitted);
    clearTimeout(this.#timer);
    this.#life.abort();
    this.#waiting.clear();
    await gate.unhandle(SPREAD);
    await Promise.allSettled(this.#pushing);
  }

  /** Exchanges with one peer whatever is newer on either side. @throws GateError and others */
  async sync(peer: Target, options: AbortOptions = {}): Promise<void> {
    const { gate } = this.#options;
    const signal = timeLimit(LIMIT, options.signal, this.#life.signal);
    const remote = await gate.peerOf(peer, { signal });
    const stream = await gate.open(remote, SPREAD, { signal });
    await whole(stream, async () => {
      const frames = new Frames(stream, FRAMES);
      await frames.write(frame({ sync: 1, have: this.#summary(remote) }), { signal });
      for (;;) {
        const answer = await frames.read({ signal });
        if (answer.record) await this.#take(answer.record, remote);
        if (answer.sync === undefined) continue;
        await this.#send(frames, answer.want, remote, signal);
        break;
      }
      await stream.close({ signal });
    });
  }

  readonly #onHeld = (record: Held): void => {
    const { kinds, audience } = this.#options;
    if (!kinds.includes(record.kind)) return;
    const source = this.#sources.get(record.key);
    for (const target of audience.targets(record)) {
      if (source && isPeer(target, source)) continue;
      const name = String(target);
      const waiting = this.#waiting.get(name);
      if (waiting) waiting.records.set(record.key, record);
      else if (this.#waiting.size < MAX_WAITING) {
        this.#waiting.set(name, { target, records: new Map([[record.key, record]]) });
      }
    }
    this.#pump();
  };

  readonly #onAdmitted = (peer: PeerId): void => {
    // One of the two begins.
    if (peer.toString() < this.#options.gate.host.peerId.toString()) return;
    this.#background(this.sync(peer));
  };

  #schedule(): void {
    this.#timer = setTimeout(
      () => {
        const [peer] = draw(this.#options.gate.peers(), 1);
        if (peer) this.#background(this.sync(peer));
        this.#schedule();
      },
      SYNC_INTERVAL * (0.5 + Math.random()),
    );
    this.#timer.unref();
  }

  #pump(): void {
    while (this.#pushing.size < PARALLEL) {
      const [next] = this.#waiting;
      if (next === undefined) return;
      const [name, { target, records }] = next;
      this.#waiting.delete(name);
      this.#background(this.#push(target, records));
    }
  }

  /** Whoever misses a push gets the record in a sync. */
  #background(work: Promise<void>): void {
    const done = work
      .catch(() => undefined)
      .finally(() => {
        this.#pushing.delete(done);
        if (!this.#life.signal.aborted) this.#pump();
      });
    this.#pushing.add(done);
  }

  async #push(target: Target, records: Map<string, Held>): Promise<void> {
    const signal = timeLimit(LIMIT, this.#life.signal);
    const stream = await this.#options.gate.open(target, SPREAD, { signal });
    await whole(stream, async () => {
      const frames = new Frames(stream, FRAMES);
      for (const { key, bytes } of records.values()) {
        await frames.write(frame({ record: { key, bytes } }), { signal });
      }
      await stream.close({ signal });
    });
  }

  async #serve(stream: Stream, peer: PeerId): Promise<void> {
    const signal = timeLimit(LIMIT, this.#life.signal);
    const frames = new Frames(stream, FRAMES);
    for (let records = 0; records <= MAX_KEYS; records++) {
      const asked = await frames.read({ signal }).catch((error: unknown) => {
        if (stream.remoteWriteStatus === 'closed') return undefined;
        throw error;
      });
      if (asked === undefined) break;
      if (asked.record) await this.#take(asked.record, peer);
      if (asked.sync !== undefined) await this.#answer(frames, asked.have, peer, signal);
    }
    await stream.close({ signal });
  }

  async #answer(
    frames: Frames<Frame>,
    have: Frame['have'],
    peer: PeerId,
    signal: AbortSignal,
  ): Promise<void> {
    const { store } = this.#options;
    const theirs = new Map(have.map(({ key, sequence }) => [key, sequence]));
    const mine = this.#summary(peer);
    const newer = mine.filter(({ key, sequence }) => sequence > (theirs.get(key) ?? -1));
    const want = have.filter(({ key, sequence }) => sequence > (store.floor(key) ?? -1));
    const keys = newer.map(({ key }) => key);
    await this.#send(frames, keys, peer, signal);
    await frames.write(frame({ sync: 1, want: want.map(({ key }) => key) }), { signal });
  }

  #summary(peer: PeerId): { key: string; sequence: number }[] {
    const { store, kinds, audience } = this.#options;
    const summary: { key: string; sequence: number }[] = [];
    // In the order of the kinds, so that many records of one do not crowd out those before it.
    for (const kind of kinds) {
      for (const { key, service, sequence } of store.all(kind)) {
        if (summary.length === MAX_KEYS) return summary;
        if (audience.concerns(service, peer)) summary.push({ key, sequence });
      }
    }
    return summary;
  }

  async #send(
    frames: Frames<Frame>,
    keys: readonly string[],
    peer: PeerId,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, kinds, audience } = this.#options;
    for (const key of keys) {
      const held = store.held(key);
      if (!held || !kinds.includes(held.kind) || !audience.concerns(held.service, peer)) continue;
      await frames.write(frame({ record: { key, bytes: held.bytes } }), { signal });
    }
  }

  async #take(record: { key: string; bytes: Uint8Array }, peer: PeerId): Promise<void> {
    const { store, kinds } = this.#options;
    const kind = kinds.find(({ namespace }) => record.key.startsWith(`/${namespace}/`));
    if (kind === undefined) throw new RecordError('ERR_RECORD_KEY', `${record.key} is not spread`);
    this.#sources.set(record.key, peer);
    try {
      await store.accept(record.key, record.bytes);
    } catch (error) {
      // Who is behind is no offender; who forges is, and loses the stream.
      const behind = error instanceof RecordError && error.code !== 'ERR_RECORD_SIGNER';
      if (!behind) throw error;
    } finally {
      this.#sources.delete(record.key);
    }
  }
}

/** Resets the stream when `work` fails. */
async function whole(stream: Stream, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}

function isPeer(target: Target, peer: PeerId): boolean {
  return String(target) === peer.toString() || String(target).includes(`/p2p/${peer}`);
}

/** @returns at most `count` of a list, any of them with the same chance */
function draw<T>(list: readonly T[], count: number): T[] {
  if (count >= list.length) return [...list];
  const left = [...list];
  const drawn: T[] = [];
  while (drawn.length < count) {
    drawn.push(...left.splice(Math.floor(Math.random() * left.length), 1));
  }
  return drawn;
}
