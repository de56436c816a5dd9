/**
 * ```
 *   a ─────── b      a record that a pushed to nobody: b, or a, finds out when one of them looks
 * ```
 */
import assert from 'node:assert/strict';
import type { Audience } from '../../../src/overlay/audience.ts';
import { Spread } from '../../../src/overlay/spread.ts';
import { POLICY_RECORD, recordKey, SPREAD_KINDS } from '../../../src/overlay/stored-kinds.ts';
import type { Timers } from '../../../src/overlay/timers.ts';
import { seal } from '../../../src/records/envelope.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  identity,
  listen,
  nth,
  Tier,
  until,
} from './harness.ts';

const service = await identity();
const superPeer = await identity();

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
    const trust = () => ({ epoch: 1, admitters: [superPeer.id] });
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

  const policy = (sequence: number): Promise<Uint8Array> =>
    seal(
      POLICY_RECORD.record,
      { serviceId: service.id, sequence, document: Buffer.from('{"version":1}') },
      service.key,
    );

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
