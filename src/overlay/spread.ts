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
import type { AbortOptions, PeerId, Stream } from '@libp2p/interface';
import { MessageStream } from '../wire/message-stream.ts';
import { type Audience, draw } from './audience.ts';
import type { Gate, Target } from './gate.ts';
import { timeLimit } from './host.ts';
import type { Held, RecordStore } from './record-store.ts';
import { MAX_KEYS, SPREAD_FRAMES, type SpreadFrame, spreadFrame } from './spread-messages.ts';
import { SpreadRule } from './spread-rule.ts';
import type { StoredKind } from './stored-kinds.ts';
import { TIMERS, type Timers } from './timers.ts';

const SPREAD = 'spread/1.0.0';
/** Milliseconds for one sync. */
const LIMIT = 20_000;
/** Milliseconds for one push: who does not take it by then gets the record in a sync, and others wait for its place. */
const PUSH_LIMIT = 5_000;
/** Milliseconds between syncs with a random peer, give or take a half. */
const SYNC_INTERVAL = 60_000;
/** Pushes under way at the same time. */
const PARALLEL = 32;
/** Peers that wait for a push, at most; the rest gets the record in a sync. */
const MAX_WAITING = 8_192;

export interface SpreadOptions {
  readonly gate: Gate;
  readonly store: RecordStore;
  readonly kinds: readonly StoredKind<unknown>[];
  readonly audience: Audience;
  /** For the syncs that run by themselves. */
  readonly timers?: Timers;
  /** From 0 to 1, 1 excluded. */
  readonly random?: () => number;
}

export class Spread {
  readonly #options: SpreadOptions;
  readonly #life = new AbortController();
  /** What waits to be pushed, by target. */
  readonly #waiting = new Map<string, { target: Target; records: Map<string, Held> }>();
  readonly #pushing = new Set<Promise<void>>();
  readonly #syncing = new Set<Promise<void>>();
  readonly #rule: SpreadRule;
  readonly #timers: Timers;
  readonly #random: () => number;
  #callOff: (() => void) | undefined;

  constructor(options: SpreadOptions) {
    this.#options = options;
    this.#rule = new SpreadRule(options);
    this.#timers = options.timers ?? TIMERS;
    this.#random = options.random ?? Math.random;
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
    this.#callOff?.();
    this.#life.abort();
    this.#waiting.clear();
    await gate.unhandle(SPREAD);
    await Promise.allSettled([...this.#pushing, ...this.#syncing]);
  }

  /** Exchanges with one peer whatever is newer on either side. @throws GateError and others */
  async sync(peer: Target, options: AbortOptions = {}): Promise<void> {
    const { gate } = this.#options;
    const signal = timeLimit(LIMIT, options.signal, this.#life.signal);
    const remote = await gate.peerOf(peer, { signal });
    const stream = await gate.open(remote, SPREAD, { signal });
    await whole(stream, async () => {
      const frames = new MessageStream(stream, SPREAD_FRAMES);
      await frames.write(spreadFrame({ sync: 1, have: this.#rule.summary(remote) }), { signal });
      for (;;) {
        const answer = await frames.read({ signal });
        if (answer.record) await this.#rule.take(answer.record, remote);
        if (answer.sync === undefined) continue;
        await this.#send(frames, answer.want, remote, signal);
        break;
      }
      await stream.close({ signal });
    });
  }

  readonly #onHeld = (record: Held, old?: Held): void => {
    for (const target of this.#rule.targets(record, old)) {
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
    this.#background(this.sync(peer), this.#syncing);
  };

  #schedule(): void {
    this.#callOff = this.#timers.after(SYNC_INTERVAL * (0.5 + this.#random()), () => {
      const [peer] = draw(this.#options.gate.peers(), 1, this.#random);
      if (peer) this.#background(this.sync(peer), this.#syncing);
      this.#schedule();
    });
  }

  #pump(): void {
    while (this.#pushing.size < PARALLEL) {
      const [next] = this.#waiting;
      if (next === undefined) return;
      const [name, { target, records }] = next;
      this.#waiting.delete(name);
      this.#background(this.#push(target, records), this.#pushing);
    }
  }

  /** Whoever misses a push gets the record in a sync. */
  #background(work: Promise<void>, among: Set<Promise<void>>): void {
    const done = work
      .catch(() => undefined)
      .finally(() => {
        among.delete(done);
        if (!this.#life.signal.aborted) this.#pump();
      });
    among.add(done);
  }

  async #push(target: Target, records: Map<string, Held>): Promise<void> {
    const signal = timeLimit(PUSH_LIMIT, this.#life.signal);
    const stream = await this.#options.gate.open(target, SPREAD, { signal });
    await whole(stream, async () => {
      const frames = new MessageStream(stream, SPREAD_FRAMES);
      for (const { key, bytes } of records.values()) {
        await frames.write(spreadFrame({ record: { key, bytes } }), { signal });
      }
      await stream.close({ signal });
    });
  }

  async #serve(stream: Stream, peer: PeerId): Promise<void> {
    const signal = timeLimit(LIMIT, this.#life.signal);
    const frames = new MessageStream(stream, SPREAD_FRAMES);
    for (let records = 0; records <= MAX_KEYS; records++) {
      const asked = await frames.read({ signal }).catch((error: unknown) => {
        if (stream.remoteWriteStatus === 'closed') return undefined;
        throw error;
      });
      if (asked === undefined) break;
      if (asked.record) await this.#rule.take(asked.record, peer);
      if (asked.sync !== undefined) await this.#answer(frames, asked.have, peer, signal);
    }
    await stream.close({ signal });
  }

  async #answer(
    frames: MessageStream<SpreadFrame>,
    have: SpreadFrame['have'],
    peer: PeerId,
    signal: AbortSignal,
  ): Promise<void> {
    const { newer, want } = this.#rule.compare(have, peer);
    await this.#send(frames, newer, peer, signal);
    await frames.write(spreadFrame({ sync: 1, want }), { signal });
  }

  async #send(
    frames: MessageStream<SpreadFrame>,
    keys: readonly string[],
    peer: PeerId,
    signal: AbortSignal,
  ): Promise<void> {
    for (const record of this.#rule.records(keys, peer)) {
      await frames.write(spreadFrame({ record }), { signal });
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
