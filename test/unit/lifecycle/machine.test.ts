import assert from 'node:assert/strict';
import type {
  Direction,
  LifecycleAction,
  LifecycleEvent,
  SaLimits,
  SaUsage,
} from '../../../src/ipsec/lifecycle/events.ts';
import { PairLifecycle } from '../../../src/ipsec/lifecycle/machine.ts';
import { DEFAULT_TIMING } from '../../../src/ipsec/lifecycle/timing.ts';

const LIMITS: SaLimits = { seconds: 3600, bytes: 1_000_000, packets: 1000 };
const ONE = { inboundSpi: 0x101, outboundSpi: 0x102 };
const TWO = { inboundSpi: 0x201, outboundSpi: 0x202 };
const { brief, overlap, idle, settle, silence, probeTimeout, probes, tries } = DEFAULT_TIMING;

/** A life cycle and its clock. */
function begin(random = 0.5) {
  const life = new PairLifecycle({ random: () => random });
  const at = { now: 1_000_000 };
  return {
    life,
    at,
    tell: (event: LifecycleEvent): LifecycleAction[] => life.handle(event, at.now),
    /** Goes to the time that the machine asked for. */
    wait(): LifecycleAction[] {
      const time = life.wakeAt();
      assert.ok(time !== undefined && time >= at.now, `${time}`);
      at.now = time;
      return life.handle({ type: 'tick' }, at.now);
    },
  };
}

function up() {
  const run = begin();
  run.tell({ type: 'acquire' });
  run.tell({ type: 'established', pair: ONE, limits: LIMITS });
  run.at.now += brief; // no longer new
  return run;
}

const usage = (spi: number, direction: Direction, packets: number, bytes = 0): SaUsage => ({
  spi,
  direction,
  packets: BigInt(packets),
  bytes: BigInt(bytes),
});
const remove = (spi: number, direction: Direction): LifecycleAction => ({
  do: 'remove',
  spi,
  direction,
});

describe('life cycle of a pair', () => {
  it('begins with the first packet', () => {
    const { life, tell } = begin();
    assert.equal(life.phase, 'down');
    assert.equal(life.wakeAt(), undefined);
    assert.deepEqual(tell({ type: 'acquire' }), [{ do: 'exchange' }]);
    assert.equal(life.phase, 'wanting');
    assert.deepEqual(tell({ type: 'established', pair: ONE, limits: LIMITS }), []);
    assert.equal(life.phase, 'up');
    assert.equal(life.wanting, false);
    assert.equal(life.pair?.outboundSpi, ONE.outboundSpi);
  });

  it("comes up by the peer's exchange as well", () => {
    const { life, tell } = begin();
    tell({ type: 'established', pair: ONE, limits: LIMITS });
    assert.equal(life.phase, 'up');
  });

  it('tries again after pauses that grow, then tells the kernel, and begins anew with the next packet', () => {
    const { life, tell, at, wait } = begin();
    tell({ type: 'acquire' });
    const pauses: number[] = [];
    for (let failure = 1; failure < tries; failure++) {
      assert.deepEqual(tell({ type: 'failed' }), []);
      assert.deepEqual(tell({ type: 'acquire' }), [], 'the pause is kept');
      const before = at.now;
      assert.deepEqual(wait(), [{ do: 'exchange' }]);
      pauses.push(at.now - before);
    }
    assert.deepEqual(pauses, [187.5, 375, 750, 1500, 3000]);
    assert.deepEqual(tell({ type: 'failed' }), [{ do: 'reject-acquire' }]);
    assert.equal(life.phase, 'down');
    assert.equal(life.wakeAt(), undefined);
    assert.deepEqual(tell({ type: 'acquire' }), [{ do: 'exchange' }]);
  });

  describe('rekeying', () => {
    it('P16 starts by time, at a part of the limit that is drawn anew', () => {
      for (const [random, part] of [
        [0, 0.8],
        [0.5, 0.85],
        [0.999, 0.8999],
      ] as const) {
        const { at, tell, life } = begin(random);
        tell({ type: 'established', pair: ONE, limits: { ...LIMITS, seconds: 100 } });
        const due = at.now + 100_000 * part;
        assert.equal(life.wakeAt(), due);
        assert.deepEqual(life.handle({ type: 'tick' }, due - 1), []);
        assert.deepEqual(life.handle({ type: 'tick' }, due), [{ do: 'exchange' }]);
        assert.deepEqual(life.handle({ type: 'tick' }, due + 1), [], 'asked for once');
      }
    });

    for (const direction of ['in', 'out'] as const) {
      const spi = direction === 'in' ? ONE.inboundSpi : ONE.outboundSpi;
      it(`P16 starts by packets and by bytes ${direction}`, () => {
        for (const [below, above] of [
          [usage(spi, direction, 849), usage(spi, direction, 850)],
          [usage(spi, direction, 1, 849_999), usage(spi, direction, 1, 850_000)],
        ] as const) {
          const { tell } = up();
          assert.deepEqual(tell({ type: 'counters', usage: [below] }), []);
          assert.deepEqual(tell({ type: 'counters', usage: [above] }), [{ do: 'exchange' }]);
          assert.deepEqual(tell({ type: 'counters', usage: [above] }), []);
        }
      });

      it(`starts at the kernel's soft limit ${direction}, not for an SA that is no more in use`, () => {
        const { tell } = up();
        const soft = { type: 'expired', direction, hard: false } as const;
        assert.deepEqual(tell({ ...soft, spi: 0x999 }), []);
        assert.deepEqual(tell({ ...soft, spi }), [{ do: 'exchange' }]);
        assert.deepEqual(tell({ ...soft, spi }), []);
      });
    }

    it('P14 changes the outbound SA at once and keeps the old inbound one for the overlap', () => {
      const { life, at, tell, wait } = up();
      const since = at.now;
      assert.deepEqual(tell({ type: 'established', pair: TWO, limits: LIMITS }), [
        remove(ONE.outboundSpi, 'out'),
      ]);
      assert.deepEqual(life.kept, [{ inboundSpi: ONE.inboundSpi, until: since + overlap }]);
      assert.deepEqual(wait(), [remove(ONE.inboundSpi, 'in')]);
      assert.equal(at.now, since + overlap);
      assert.equal(life.pair?.inboundSpi, TWO.inboundSpi);
    });

    it('P14 leaves the pair as it is while exchanges fail, and goes on trying', () => {
      const { life, tell, wait } = up();
      tell({ type: 'expired', spi: ONE.outboundSpi, direction: 'out', hard: false });
      for (let n = 0; n < 3 * tries; n++) {
        assert.deepEqual(tell({ type: 'failed' }), []);
        assert.deepEqual(wait(), [{ do: 'exchange' }]);
      }
      assert.equal(life.pair?.inboundSpi, ONE.inboundSpi);
    });

    it('keeps the inbound SA of a run that the peer may have finished until the next pair', () => {
      const { life, at, tell, wait } = up();
      assert.deepEqual(tell({ type: 'in-doubt', inboundSpi: 0x301 }), [{ do: 'exchange' }]);
      assert.deepEqual(life.kept, [{ inboundSpi: 0x301, until: 'in doubt' }]);
      tell({ type: 'established', pair: TWO, limits: LIMITS });
      const since = at.now;
      assert.deepEqual(wait(), [remove(ONE.inboundSpi, 'in'), remove(0x301, 'in')]);
      assert.equal(at.now, since + overlap);
    });

    it('keeps a bounded number of them', () => {
      const { life, tell } = up();
      for (let spi = 0x301; spi < 0x400; spi++) tell({ type: 'in-doubt', inboundSpi: spi });
      assert.equal(life.kept.filter(({ until }) => until === 'in doubt').length, 8);
    });

    it('tells the peer when it gives up on them', () => {
      const { tell, wait } = begin();
      tell({ type: 'acquire' });
      tell({ type: 'in-doubt', inboundSpi: 0x301 });
      for (let n = 1; n < tries; n++) {
        tell({ type: 'failed' });
        wait();
      }
      assert.deepEqual(tell({ type: 'failed' }), [
        { do: 'notify-deleted', inboundSpi: 0x301 },
        { do: 'reject-acquire' },
      ]);
      assert.deepEqual(wait(), [remove(0x301, 'in')]);
    });
  });

  it('begins anew at once when the kernel has ended the pair', () => {
    for (const [spi, direction] of [
      [ONE.inboundSpi, 'in'],
      [ONE.outboundSpi, 'out'],
    ] as const) {
      const { life, tell } = up();
      assert.deepEqual(tell({ type: 'expired', spi, direction, hard: true }), [
        remove(ONE.outboundSpi, 'out'),
        remove(ONE.inboundSpi, 'in'),
        { do: 'exchange' },
      ]);
      assert.equal(life.phase, 'wanting');
    }
  });

  it('knows SAs by direction and number: the two ends choose numbers apart', () => {
    const { at, life, tell } = up();
    const pair = { inboundSpi: 0x201, outboundSpi: ONE.inboundSpi };
    tell({ type: 'established', pair, limits: LIMITS });
    at.now += brief;
    const expired = { type: 'expired', spi: ONE.inboundSpi, hard: true } as const;
    assert.deepEqual(tell({ ...expired, direction: 'in' }), [], 'the old inbound SA has ended');
    assert.deepEqual(life.kept, []);
    assert.equal(tell({ ...expired, direction: 'out' }).length, 3);
  });

  describe('limits that the first packets reach', () => {
    it('make pauses that grow, and none again once a pair lasts', () => {
      const { at, life, tell, wait } = begin();
      tell({ type: 'acquire' });
      const began = at.now;
      let exchanges = 0;
      while (at.now < began + 60_000) {
        exchanges++;
        tell({ type: 'established', pair: ONE, limits: { ...LIMITS, packets: 1 } });
        const { inboundSpi: spi } = ONE;
        const event = { type: 'expired', spi, direction: 'in', hard: exchanges % 2 === 0 } as const;
        const removed = event.hard ? [remove(ONE.outboundSpi, 'out'), remove(spi, 'in')] : [];
        assert.deepEqual(tell(event), removed, 'not at once');
        assert.deepEqual(tell({ type: 'acquire' }), [], 'nor when the kernel asks');
        assert.ok(life.wanting);
        while (!wait().some((action) => action.do === 'exchange'));
      }
      assert.ok(exchanges < 15, `${exchanges} in a minute`);
      tell({ type: 'established', pair: TWO, limits: LIMITS });
      at.now += 1_000;
      const { outboundSpi: spi } = TWO;
      const soft = { type: 'expired', spi, direction: 'out', hard: false } as const;
      assert.deepEqual(tell(soft), [{ do: 'exchange' }]);
    });
  });

  describe('liveness', () => {
    const sending = (run: ReturnType<typeof up>, packets: number): LifecycleAction[] =>
      run.tell({ type: 'counters', usage: [usage(ONE.outboundSpi, 'out', packets)] });

    it('asks when packets go out and none comes in, and not before', () => {
      const run = up();
      const since = run.at.now;
      sending(run, 1);
      run.at.now += silence - 1;
      assert.deepEqual(run.tell({ type: 'tick' }), []);
      assert.deepEqual(run.wait(), [{ do: 'probe', outboundSpi: ONE.outboundSpi }]);
      assert.equal(run.at.now, since + silence);
    });

    it('does not ask while the peer is heard, also on the old SA', () => {
      for (const spi of [ONE.inboundSpi, 0x99]) {
        const run = up();
        sending(run, 1);
        run.at.now += silence - 1;
        run.tell({ type: 'counters', usage: [usage(spi, 'in', 1)] });
        run.at.now += 1;
        assert.deepEqual(run.tell({ type: 'tick' }), []);
      }
    });

    it('gives the pair up when no probe is answered, so that the next packet begins anew', () => {
      const run = up();
      sending(run, 1);
      for (let n = 0; n < probes; n++) {
        assert.deepEqual(run.wait(), [{ do: 'probe', outboundSpi: ONE.outboundSpi }]);
      }
      const asked = run.at.now;
      assert.deepEqual(run.wait(), [remove(ONE.outboundSpi, 'out'), remove(ONE.inboundSpi, 'in')]);
      assert.equal(run.at.now, asked + probeTimeout);
      assert.equal(run.life.phase, 'down');
    });

    it('is content with an answer, and asks again when the silence goes on', () => {
      const run = up();
      sending(run, 1);
      run.wait();
      const known = { type: 'probed', outboundSpi: ONE.outboundSpi, known: true } as const;
      assert.deepEqual(run.tell(known), []);
      assert.equal(run.life.phase, 'up');
      sending(run, 2);
      assert.deepEqual(run.wait(), [{ do: 'probe', outboundSpi: ONE.outboundSpi }]);
    });

    it('makes new keys when the peer has lost the pair', () => {
      const run = up();
      sending(run, 1);
      run.wait();
      const answer = { type: 'probed', outboundSpi: ONE.outboundSpi, known: false } as const;
      assert.deepEqual(run.tell({ ...answer, outboundSpi: 0x99 }), [], 'not about this pair');
      assert.deepEqual(run.tell(answer), [remove(ONE.outboundSpi, 'out'), { do: 'exchange' }]);
    });
  });

  describe('P31 an SA that another program has taken', () => {
    it('is replaced at once; the peer is told of an inbound one, and the outbound one goes on', () => {
      const { life, tell } = up();
      assert.deepEqual(tell({ type: 'lost', spi: ONE.inboundSpi, direction: 'in' }), [
        { do: 'notify-deleted', inboundSpi: ONE.inboundSpi },
        { do: 'exchange' },
      ]);
      assert.deepEqual(life.pair, life.pair && { ...life.pair, ...ONE });
      assert.deepEqual(tell({ type: 'lost', spi: ONE.outboundSpi, direction: 'out' }), [
        remove(ONE.outboundSpi, 'out'),
        { do: 'exchange' },
      ]);
      assert.equal(life.phase, 'wanting');
    });

    it('needs no other where it was in use no more, or never', () => {
      const { tell } = up();
      tell({ type: 'established', pair: TWO, limits: LIMITS });
      const old = { type: 'lost', spi: ONE.inboundSpi, direction: 'in' } as const;
      assert.deepEqual(tell(old), [{ do: 'notify-deleted', inboundSpi: ONE.inboundSpi }]);
      assert.deepEqual(tell(old), []);
      assert.deepEqual(tell({ type: 'lost', spi: TWO.inboundSpi, direction: 'out' }), []);
    });

    it('in doubt: the peer is told, since it may have it in use', () => {
      const { tell } = up();
      tell({ type: 'in-doubt', inboundSpi: 0x301 });
      assert.deepEqual(tell({ type: 'lost', spi: 0x301, direction: 'in' }), [
        { do: 'notify-deleted', inboundSpi: 0x301 },
        { do: 'exchange' },
      ]);
    });
  });

  describe('the end of a pair', () => {
    it('comes when nothing is sent or heard: the peer is told before its packets are refused', () => {
      const { at, tell, wait, life } = begin();
      tell({ type: 'established', pair: ONE, limits: { ...LIMITS, seconds: 86_400 } });
      at.now += idle - 1;
      tell({ type: 'counters', usage: [usage(ONE.inboundSpi, 'in', 1)] });
      const since = at.now;
      assert.deepEqual(wait(), [
        { do: 'notify-deleted', inboundSpi: ONE.inboundSpi },
        remove(ONE.outboundSpi, 'out'),
      ]);
      assert.equal(at.now, since + idle);
      assert.equal(life.phase, 'down');
      assert.deepEqual(wait(), [remove(ONE.inboundSpi, 'in')]);
      assert.equal(at.now, since + idle + overlap);
      assert.equal(life.wakeAt(), undefined);
    });

    it('comes also where keys last less long than an unused pair', () => {
      const { at, tell, wait, life } = begin();
      tell({ type: 'acquire' });
      const began = at.now;
      for (let round = 1; round < 10; round++) {
        const [inboundSpi, outboundSpi] = [2 * round, 2 * round + 1];
        const pair = { inboundSpi, outboundSpi };
        tell({ type: 'established', pair, limits: { ...LIMITS, seconds: 400 } });
        // Both ends look after the path, and the kernels answer.
        tell({ type: 'touched' });
        at.now += settle - 1;
        const usages = [usage(outboundSpi, 'out', 2), usage(inboundSpi, 'in', 2)];
        // What has retired is counted as before.
        if (round > 1) usages.push(usage(inboundSpi - 2, 'in', 2));
        tell({ type: 'counters', usage: usages });
        at.now += settle;
        tell({ type: 'counters', usage: usages });
        let actions = wait();
        while (actions.every((each) => each.do === 'remove')) actions = wait();
        if (actions.some((each) => each.do === 'notify-deleted')) break;
        assert.deepEqual(actions, [{ do: 'exchange' }]);
      }
      assert.equal(life.phase, 'down');
      assert.ok(at.now >= began + idle && at.now < began + idle + 2 * settle, `${at.now - began}`);
    });

    it('comes also after a packet that nobody answered', () => {
      const { at, tell, wait, life } = begin();
      tell({ type: 'established', pair: ONE, limits: { ...LIMITS, seconds: 86_400 } });
      tell({ type: 'counters', usage: [usage(ONE.outboundSpi, 'out', 1)] });
      const since = at.now;
      assert.deepEqual(wait(), [{ do: 'probe', outboundSpi: ONE.outboundSpi }]);
      tell({ type: 'probed', outboundSpi: ONE.outboundSpi, known: true });
      tell({ type: 'touched' });
      tell({ type: 'counters', usage: [usage(ONE.outboundSpi, 'out', 2)] });
      const [told] = wait();
      assert.deepEqual(told, { do: 'notify-deleted', inboundSpi: ONE.inboundSpi });
      assert.equal(at.now, since + idle);
      assert.equal(life.phase, 'down');
    });

    it('own packets hide no others', () => {
      for (const readings of [
        [2], // an own one and another
        [0, 0, 1], // the own one was lost; another two readings later
      ]) {
        const { tell, wait } = begin();
        tell({ type: 'established', pair: ONE, limits: { ...LIMITS, seconds: 86_400 } });
        tell({ type: 'touched' });
        for (const packets of readings) {
          tell({ type: 'counters', usage: [usage(ONE.outboundSpi, 'out', packets)] });
        }
        assert.deepEqual(wait(), [{ do: 'probe', outboundSpi: ONE.outboundSpi }], `${readings}`);
      }
    });

    it('comes when the peer tells so, and not for another SPI', () => {
      const { tell, life, wait } = up();
      assert.deepEqual(tell({ type: 'deleted', outboundSpi: ONE.inboundSpi }), []);
      assert.deepEqual(tell({ type: 'deleted', outboundSpi: ONE.outboundSpi }), [
        remove(ONE.outboundSpi, 'out'),
      ]);
      assert.equal(life.phase, 'down');
      assert.deepEqual(wait(), [remove(ONE.inboundSpi, 'in')]);
    });

    it('P11 leaves nothing behind when the pair is closed, and nothing happens after it', () => {
      const { tell, life } = up();
      tell({ type: 'in-doubt', inboundSpi: 0x301 });
      tell({ type: 'established', pair: TWO, limits: LIMITS });
      tell({ type: 'in-doubt', inboundSpi: 0x302 });
      assert.deepEqual(tell({ type: 'close' }), [
        { do: 'notify-deleted', inboundSpi: TWO.inboundSpi },
        remove(TWO.outboundSpi, 'out'),
        remove(TWO.inboundSpi, 'in'),
        remove(ONE.inboundSpi, 'in'),
        remove(0x301, 'in'),
        remove(0x302, 'in'),
      ]);
      assert.equal(life.phase, 'closed');
      assert.equal(life.wakeAt(), undefined);
      assert.deepEqual(tell({ type: 'acquire' }), []);
    });
  });

  describe('P20 a change of address', () => {
    it('makes new keys at once where there were any', () => {
      const { tell, life } = up();
      assert.deepEqual(tell({ type: 'moved' }), [{ do: 'move' }, { do: 'exchange' }]);
      assert.equal(life.pair, undefined);
      assert.deepEqual(life.kept, []);
    });

    it('does not wait for the pause after a failure', () => {
      const { tell } = begin();
      tell({ type: 'acquire' });
      tell({ type: 'failed' });
      assert.deepEqual(tell({ type: 'moved' }), [{ do: 'move' }, { do: 'exchange' }]);
    });

    it('makes none for a peer that nobody talks to', () => {
      const { tell, life } = begin();
      assert.deepEqual(tell({ type: 'moved' }), [{ do: 'move' }]);
      assert.equal(life.phase, 'down');
    });
  });
});
