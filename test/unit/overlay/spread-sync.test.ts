/**
 * ```
 *   a ─────── b      a record that a pushed to nobody: b, or a, finds out when one of them looks
 * ```
 */
import assert from 'node:assert/strict';
import type { Audience } from '../../../src/overlay/audience.ts';
import { Spread } from '../../../src/overlay/spread.ts';
import {
  DESCRIPTOR_RECORD,
  POLICY_RECORD,
  recordKey,
  SPREAD_KINDS,
} from '../../../src/overlay/stored-kinds.ts';
import type { Timers } from '../../../src/overlay/timers.ts';
import type { ServiceDescriptor } from '../../../src/records/descriptor.ts';
import { seal } from '../../../src/records/envelope.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  descriptorOf,
  identity,
  listen,
  nth,
  Tier,
  trustIn,
  until,
} from './harness.ts';

const service = await identity();
const superPeer = await identity();
const NONE = new Uint8Array();

describe('a record that somebody missed', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  /** Pushes nothing, so that only a sync brings a record. */
  const SILENT: Audience = { targets: () => [], concerns: () => true, takes: () => true };

  interface Asked {
    readonly ms: number;
    readonly work: () => void;
    wanted: boolean;
  }

  /** A node whose timers go off when the test says so. */
  async function node(random: () => number) {
    const { key, id } = await identity();
    const credential = await credentialFor(service.id, superPeer.key, id);
    const trust = () => trustIn([superPeer.id]);
    const host = cleanup.add(await listen(key));
    const tier = cleanup.add(new Tier(host, service.id, () => credential.bytes, trust));
    const asked: Asked[] = [];
    const timers: Timers = {
      now: () => 0,
      after(ms, work) {
        const each: Asked = { ms, work, wanted: true };
        asked.push(each);
        return () => {
          each.wanted = false;
        };
      },
    };
    const { gate, store } = tier;
    const own = { gate, store, kinds: SPREAD_KINDS, audience: SILENT, timers, random };
    const spread = new Spread(own);
    cleanup.add({ close: () => spread.close() });
    await tier.start();
    await spread.start();
    return { tier, asked, spread };
  }

  const policy = (sequence: number, document = '{"version":1}'): Promise<Uint8Array> =>
    seal(
      POLICY_RECORD.record,
      { serviceId: service.id, sequence, document: Buffer.from(document) },
      service.key,
    );

  /** Two nodes that have met, and have nothing to tell each other. */
  async function pair() {
    const [a, b] = [await node(() => 0), await node(() => 0)];
    const met = [a, b].map(({ tier: { gate } }) =>
      until(gate, 'admitted', () => gate.peers().length > 0),
    );
    await a.tier.dht.join([addresses(b.tier.gate.host)]);
    await Promise.all(met);
    await a.spread.sync(b.tier.gate.host.peerId);
    return [a, b] as const;
  }

  it('P8 two that differ and say one sequence become the same one, whoever asks', async () => {
    for (const asking of [0, 1]) {
      const nodes = await pair();
      const [a, b] = nodes;
      const key = recordKey(POLICY_RECORD, service.id);
      await a.tier.store.accept(key, await policy(5, '{"version":1}'));
      await b.tier.store.accept(key, await policy(5, '{ "version": 1 }'));
      await nth(nodes, asking).spread.sync(nth(nodes, 1 - asking).tier.gate.host.peerId);
      const held = (each: typeof a) => each.tier.store.held(key)?.bytes;
      const same = (): boolean => Buffer.compare(held(a) ?? NONE, held(b) ?? NONE) === 0;
      // What the one that asks sends last may still be on its way.
      await until(nth(nodes, 1 - asking).tier.store, 'held', same);
    }
  });

  it('P33 of two descriptors the one of the later epoch wins, also with a lower sequence', async () => {
    for (const asking of [0, 1]) {
      const nodes = await pair();
      const key = recordKey(DESCRIPTOR_RECORD, service.id);
      const make = (change: Partial<ServiceDescriptor>) =>
        seal(DESCRIPTOR_RECORD.record, descriptorOf(service.id, [], change), service.key);
      const newest = await make({ epoch: 4, sequence: 6 });
      await nth(nodes, 0).tier.store.accept(key, newest);
      await nth(nodes, 1).tier.store.accept(key, await make({ epoch: 3, sequence: 90 }));
      await nth(nodes, asking).spread.sync(nth(nodes, 1 - asking).tier.gate.host.peerId);
      for (const { tier } of nodes) {
        await until(tier.store, 'held', () => tier.store.held(key)?.epoch === 4);
        assert.deepEqual(tier.store.held(key)?.bytes, newest);
      }
    }
  });

  it('comes with the sync that each node begins 30 to 90 s after the one before', async () => {
    const [soon, late] = [await node(() => 0), await node(() => 0.999)];
    assert.equal(nth(soon.asked, 0).ms, 30_000);
    assert.ok(nth(late.asked, 0).ms > 89_000 && nth(late.asked, 0).ms < 90_000);
    // The sync of their first meeting is over before there is a record.
    const met = Promise.all(
      [soon, late].map(({ tier }) =>
        until(tier.gate, 'admitted', () => tier.gate.peers().length > 0),
      ),
    );
    await soon.tier.dht.join([addresses(late.tier.gate.host)]);
    await met;
    await soon.spread.sync(late.tier.gate.host.peerId);
    const key = recordKey(POLICY_RECORD, service.id);
    const has = async ({ tier: { store } }: typeof soon, sequence: number): Promise<void> =>
      until(store, 'held', () => store.held(key)?.sequence === sequence);

    // It learns, and it tells.
    for (const [round, from] of [late, soon, late].entries()) {
      const sequence = round + 1;
      await from.tier.store.accept(key, await policy(sequence));
      assert.equal(soon.asked.length, round + 1, 'it is asked for again each time');
      nth(soon.asked, round).work();
      await Promise.all([has(soon, sequence), has(late, sequence)]);
    }
    await soon.spread.close();
    assert.deepEqual(
      soon.asked.map(({ wanted }) => wanted),
      [true, true, true, false],
    );
  });
});
