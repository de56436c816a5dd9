import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import type { RecordNetwork } from '../../../src/overlay/dht.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { ShardWriter } from '../../../src/overlay/shard-writer.ts';
import { MEMBERSHIP_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { Cleanup, identity } from './harness.ts';

const service = await identity();
const superPeer = await identity();

/** The network and the clock of one writer: each write waits, and each timer goes off, until the test says so. */
class Hand {
  now = 1_000;
  /** Writes that have begun. */
  writes = 0;
  /** Called off, the last of the timers is none. */
  timer: { readonly ms: number; readonly work: () => void } | undefined;
  readonly #events = new EventEmitter();

  readonly timers = {
    now: () => this.now,
    after: (ms: number, work: () => void) => {
      this.timer = { ms, work };
      this.#events.emit('timer');
      return () => {
        this.timer = undefined;
      };
    },
  };

  readonly network: RecordNetwork = {
    async *collect() {},
    store: async () => {
      this.writes++;
      const ended = once(this.#events, 'end');
      this.#events.emit('write');
      const [replicas] = await ended;
      if (replicas === 0) throw new Error('nobody answers');
      return replicas;
    },
  };

  /** Lets the timer go off. @returns when the write has begun */
  async begin(): Promise<void> {
    const { timer } = this;
    assert.ok(timer);
    this.timer = undefined;
    this.now += timer.ms;
    const begun = this.begun();
    timer.work();
    await begun;
  }

  async begun(): Promise<void> {
    await once(this.#events, 'write');
  }

  /** Ends the write after so many milliseconds. @returns the milliseconds to the next */
  async end(ms: number, replicas = 1): Promise<number> {
    const next = once(this.#events, 'timer');
    this.now += ms;
    this.last(replicas);
    await next;
    return this.timer?.ms ?? Number.NaN;
  }

  /** Ends a write after which there is nothing to do. */
  last(replicas = 1): void {
    this.#events.emit('end', replicas);
  }
}

describe('the writer of a membership shard', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  function writer(hand: Hand, delayed: unknown[] = []): ShardWriter {
    const store = new RecordStore({ kinds: [MEMBERSHIP_RECORD] });
    const { network, timers } = hand;
    return new ShardWriter({
      records: cleanup.add(new Records({ store, network })),
      serviceId: service.id,
      superPeer: superPeer.id,
      key: superPeer.key,
      seal: { seal: async (content) => content },
      claims: () => new Map(),
      adopt: async () => {},
      timers,
      onDelayed: (error) => delayed.push(error),
    });
  }

  /** A write that is under way, with a change that came too late for it. */
  async function oneLate(hand: Hand, own = writer(hand)): Promise<ShardWriter> {
    own.changed(0);
    await hand.begin();
    own.changed(0);
    assert.equal(hand.timer, undefined, 'one write at a time');
    return own;
  }

  it('collects changes for 250 ms and writes each bucket once', async () => {
    const hand = new Hand();
    const own = writer(hand);
    own.changed(0);
    assert.equal(hand.timer?.ms, 250);
    own.changed(0);
    await hand.begin();
    assert.equal(hand.writes, 1);
    hand.last();
    await own.close(undefined);
    assert.equal(hand.writes, 1);
  });

  it('rests eight times as long as a write took, 2 s at most', async () => {
    const hand = new Hand();
    const own = await oneLate(hand);
    assert.equal(await hand.end(10), 250, 'as long as changes are collected anyway');
    await hand.begin();
    own.changed(0);
    assert.equal(await hand.end(100), 800);
    await hand.begin();
    own.changed(0);
    assert.equal(await hand.end(5_000), 2_000);
    await own.close(AbortSignal.abort());
  });

  it('tries a write that failed again after 3 s, and says that it is late', async () => {
    const hand = new Hand();
    const delayed: unknown[] = [];
    const own = writer(hand, delayed);
    own.changed(0);
    await hand.begin();
    assert.equal(await hand.end(10, 0), 3_000);
    assert.deepEqual(delayed.map(String), ['Error: nobody answers']);
    await own.close(AbortSignal.abort());
  });

  it('writes what is left before it closes, without a rest, and nothing when there is no time', async () => {
    for (const signal of [undefined, AbortSignal.abort()]) {
      const hand = new Hand();
      const own = await oneLate(hand);
      await hand.end(1_000);
      const begun = signal ?? hand.begun();
      const closed = own.close(signal);
      await begun;
      hand.last();
      await closed;
      assert.equal(hand.writes, signal ? 1 : 2);
      assert.equal(hand.timer, undefined);
    }
  });
});
