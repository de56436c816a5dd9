/**
 * Two members' pairs with real life cycles, real exchanges and real keys. Only kernel and network are in memory.
 *
 * ```
 *   Pair a ── exchange streams ──▶ Pair b
 *     │  └──── probe, delete ────▶ │  └── MemoryKernel b
 *     └── MemoryKernel a           └────▶ the same back to a
 * ```
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Stream } from '@libp2p/interface';
import { streamPair } from '@libp2p/utils';
import fc from 'fast-check';
import { HalfOpen } from '../../../src/daemon/pair/half-open.ts';
import { Pair } from '../../../src/daemon/pair/pair.ts';
import type { Timing } from '../../../src/ipsec/lifecycle/timing.ts';
import type { ExchangeContext } from '../../../src/keymgmt/exchange/context.ts';
import { ALL_SUITES, type Suite } from '../../../src/keymgmt/exchange/suite.ts';
import type { EncapsulationPolicy } from '../../../src/policy/grant.ts';
import { type Pair as Contexts, idOf, newPair } from '../exchange/fixture.ts';
import { MemoryKernel } from './memory-kernel.ts';
import { until } from './until.ts';

const TIMING = { overlap: 40, firstRetry: 10, probeTimeout: 200, silence: 60_000 };

interface Settings {
  readonly timing?: Partial<Timing>;
  readonly seconds?: number;
  /** Milliseconds that each message of the nth stream takes. */
  readonly slow?: readonly number[];
}

class End {
  readonly kernel: MemoryKernel;
  readonly pair: Pair;
  readonly log: string[] = [];
  /** Whether the network lets ESP pass, in UDP or as it is. */
  passes: (inUdp: boolean) => boolean = () => true;
  /** ESP as it is or in UDP, as this end wants it. */
  policy: EncapsulationPolicy = 'auto';
  /** What this end offers or takes. */
  suites: readonly Suite[] = ALL_SUITES;
  /** What the network does with this end's exchange streams. */
  dial: () => Promise<Stream>;

  constructor(
    context: ExchangeContext,
    firstSpi: number,
    other: () => End,
    { timing, seconds, slow = [] }: Settings,
  ) {
    this.kernel = new MemoryKernel(firstSpi);
    let dials = 0;
    this.dial = async () => {
      const [near, far] = await streamPair({ delay: slow[dials++ % slow.length] ?? 0 });
      void other().pair.respond({ stream: far, seen: undefined });
      return near;
    };
    const lifetimes = { ...context.lifetimes, ...(seconds !== undefined && { seconds }) };
    this.pair = new Pair({
      local: idOf(context.identity.key),
      remote: context.peer,
      dataPlane: this.kernel,
      context: () => ({
        ...{ ...context, lifetimes, suites: this.suites },
        path: { ...context.path, policy: this.policy },
      }),
      open: async () => ({ stream: await this.dial(), seen: undefined }),
      touch: () => this.touch(other()),
      halfOpen: new HalfOpen(),
      control: {
        probe: async (spi) => other().pair.receives(spi),
        received: (spi) => other().pair.received(spi),
        deleted: async (spi) => void other().pair.deleted(spi),
      },
      timing: { ...TIMING, ...timing },
      checkPauses: [5, 10, 20],
      log: (event, fields) => this.log.push(`${event} ${JSON.stringify(fields)}`),
    });
  }

  /** A packet through the SA in use, which the network may lose. */
  touch({ kernel }: End): void {
    const spi = this.pair.current?.outboundSpi;
    if (spi === undefined) return;
    add(this.kernel.sent, spi);
    if (this.passes(this.kernel.inUdp.get(spi) ?? false)) add(kernel.received, spi);
  }
}

const add = (counters: Map<number, bigint>, spi: number): void =>
  void counters.set(spi, (counters.get(spi) ?? 0n) + 1n);

/** What each end sends under, the other receives with the same key. */
function assertSame(a: End, b: End): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    const spi = from.pair.current?.outboundSpi ?? 0;
    assert.equal(to.pair.current?.inboundSpi, spi, 'P15 not the same pair');
    const key = from.kernel.outbound.get(spi);
    assert.ok(key !== undefined);
    assert.equal(to.kernel.inbound.get(spi), key);
  }
}

const single = (...ends: End[]): boolean =>
  ends.every(({ kernel }) => kernel.inbound.size === 1 && kernel.outbound.size === 1);

describe('pair of members', () => {
  let contexts: Contexts;
  let ends: End[] = [];
  before(async () => {
    contexts = await newPair();
  });
  afterEach(async () => {
    await Promise.all(ends.map(({ pair }) => pair.close({ tellPeer: false })));
    ends = [];
  });

  const make = (settings: Settings = {}): [End, End] => {
    const a: End = new End(contexts.a, 0x1000, () => b, settings);
    const b: End = new End(contexts.b, 0x9000, () => a, settings);
    ends.push(a, b);
    return [a, b];
  };
  const connected = async (settings: Settings = {}): Promise<[End, End]> => {
    const [a, b] = make(settings);
    a.pair.acquire();
    await until('keys', () => [a, b].every(({ pair }) => pair.current !== undefined));
    return [a, b];
  };

  it('P18 agrees on keys when the kernel asks', async () => {
    const [a, b] = await connected();
    assertSame(a, b);
    assert.ok(single(a, b));
  });

  it('P12 moves packets while the kernel counts more of them, either way', async () => {
    const [a] = await connected();
    const { inboundSpi, outboundSpi } = a.pair.current ?? {};
    assert.ok(inboundSpi && outboundSpi);
    const count = (sent: bigint, received: bigint): void =>
      a.pair.counted([
        { spi: inboundSpi, direction: 'in', packets: received, bytes: 0n },
        { spi: outboundSpi, direction: 'out', packets: sent, bytes: 0n },
      ]);
    assert.ok(!a.pair.moves(60_000), 'nothing was counted yet');
    count(1n, 0n);
    assert.ok(a.pair.moves(60_000));
    await until('a while ago', () => !a.pair.moves(10));
    count(1n, 0n);
    assert.ok(!a.pair.moves(10), 'no more than before');
    count(1n, 1n);
    assert.ok(a.pair.moves(60_000));
    a.pair.deleted(outboundSpi);
    await until('the pair has ended', () => a.pair.current === undefined);
    assert.ok(!a.pair.moves(60_000));
  });

  it('P34 tells which suite the SAs in use were agreed with, at either end and in the log', async () => {
    for (const [suites, wanted] of [
      [ALL_SUITES, 'x25519-mlkem768'],
      [['x25519'], 'x25519'],
    ] as const) {
      const [a, b] = make();
      a.suites = suites;
      assert.equal(a.pair.suite, undefined);
      a.pair.acquire();
      await until('keys', () => [a, b].every(({ pair }) => pair.current !== undefined));
      for (const { pair, log } of [a, b]) {
        assert.equal(pair.suite, wanted);
        assert.ok(log.some((each) => each.includes(`"suite":"${wanted}"`)));
      }
    }
  });

  it('P16 soft limits lie before the hard ones, and each rekey has new keys and SPIs', async () => {
    const [a, b] = await connected({ seconds: 100 });
    for (const { lifetime } of [...a.kernel.lifetimes, ...b.kernel.lifetimes]) {
      for (const { soft = 0n, hard = 0n } of [
        lifetime?.seconds ?? {},
        lifetime?.bytes ?? {},
        lifetime?.packets ?? {},
      ]) {
        assert.ok(soft > 0n && soft < hard, `${soft} of ${hard}`);
      }
      assert.ok((lifetime?.seconds?.soft ?? 0n) <= 90n);
    }
    const spi = a.pair.current?.outboundSpi ?? 0;
    a.pair.expired(spi, 'out', false);
    await until(
      'a rekey',
      () => a.pair.current !== undefined && a.pair.current.outboundSpi !== spi,
    );
    await until('the same at both ends', () => b.pair.current?.inboundSpi !== spi);
    assertSame(a, b);
    const { size } = new Set([...a.kernel.keys, ...b.kernel.keys]);
    assert.equal(size, 4, 'two keys for each of two pairs');
  });

  it('P14 keeps the old SAs for packets on their way, then removes them', async () => {
    const [a, b] = await connected({ timing: { overlap: 1_500 } });
    const old = a.pair.current;
    assert.ok(old !== undefined);
    b.pair.expired(old.inboundSpi, 'out', false);
    await until('a rekey', () => [a, b].every(({ kernel }) => kernel.inbound.size === 2));
    assert.ok(a.kernel.outbound.has(old.outboundSpi), 'a packet may be between choice and use');
    await until('one pair', () => single(a, b));
    assert.ok(!a.kernel.outbound.has(old.outboundSpi) && !a.kernel.inbound.has(old.inboundSpi));
    assertSame(a, b);
  });

  it('P14 rekeys before its time is over, again and again', async () => {
    const [a, b] = await connected({ seconds: 1 });
    const first = a.pair.current?.outboundSpi ?? 0;
    await until('two rekeys', () => a.kernel.keys.length >= 6);
    await until('both ends', () => b.kernel.keys.length >= 6);
    assert.notEqual(a.pair.current?.outboundSpi, first);
    const hard = [...a.log, ...b.log].filter((line) => line.startsWith('sa-ended'));
    assert.deepEqual(hard, []);
  });

  it('P15 both ends rekey at once, however slow the network: one pair comes out', async () => {
    const delays = fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        delays,
        fc.array(fc.nat({ max: 3 }), { maxLength: 4 }),
        async (slow, gaps) => {
          const [a, b] = await connected({ slow, timing: { overlap: 1 } });
          for (const gap of [0, ...gaps]) {
            const [one, two] = [a.pair.current, b.pair.current];
            if (one !== undefined) a.pair.expired(one.outboundSpi, 'out', false);
            await delay(gap);
            if (two !== undefined) b.pair.expired(two.outboundSpi, 'out', false);
          }
          const quiet = () =>
            a.pair.current?.outboundSpi === b.pair.current?.inboundSpi &&
            b.pair.current?.outboundSpi === a.pair.current?.inboundSpi &&
            [a, b].every(({ kernel }) => kernel.inbound.size === 1) &&
            [a, b].every(({ kernel }) => kernel.keys.length >= 4);
          await until('rest', quiet);
          assertSame(a, b);
        },
      ),
      { numRuns: 12 },
    );
  });

  it('who dials in vain answers the peer that came by itself, whichever would win', async () => {
    for (const stuck of [0, 1] as const) {
      const [a, b] = make();
      const [one, other] = stuck === 0 ? [a, b] : [b, a];
      const dialled = Promise.withResolvers<never>();
      one.dial = () => dialled.promise;
      one.pair.acquire();
      other.pair.acquire();
      await until('keys', () => a.pair.current !== undefined && b.pair.current !== undefined);
      assertSame(a, b);
      dialled.reject(new Error('nobody is there'));
    }
  });

  it('keeps its inbound SA when a run breaks where the peer may have the pair', async () => {
    const [a, b] = make();
    const { dial } = a;
    let streams = 0;
    a.dial = async () => {
      const stream = await dial();
      // The peer gets M3 and answers; the answer is lost.
      if (streams++ === 0) void breakWhen(() => b.pair.current !== undefined, stream);
      return stream;
    };
    const seen: number[] = [];
    const { removeSa } = a.kernel;
    a.kernel.removeSa = async (id, spi, direction) => {
      if (direction === 'in') seen.push(spi);
      await removeSa.call(a.kernel, id, spi, direction);
    };
    const { installOutbound } = a.kernel;
    a.kernel.installOutbound = async (id, spi, keys, options) => {
      if (streams === 1) throw new Error('the first run does not get that far');
      assert.deepEqual(seen, [], 'the SA in doubt stays until another pair is there');
      assert.equal(a.kernel.inbound.size, 2);
      await installOutbound.call(a.kernel, id, spi, keys, options);
    };
    a.pair.acquire();
    await until('a second run', () => streams === 2 && a.pair.current !== undefined);
    await until('only one pair', () => single(a, b));
    assert.equal(seen.length, 1);
    assertSame(a, b);
  });

  it('P34 gives up after some tries, tells why, lets the kernel ask again, and works at the next packet', async () => {
    const [a, b] = make({ timing: { tries: 3 } });
    const { dial } = a;
    a.dial = async () => {
      throw new Error('the network is down');
    };
    a.pair.acquire();
    await until('it gives up', () => a.kernel.rejected === 1);
    assert.equal(a.log.filter((line) => line.startsWith('exchange-failed')).length, 3);
    assert.ok(a.pair.failure instanceof Error);
    assert.equal(a.pair.failure.message, 'the network is down');
    a.dial = dial;
    a.pair.acquire();
    await until('keys', () => a.pair.current !== undefined && b.pair.current !== undefined);
    assert.equal(a.pair.failure, undefined);
    assertSame(a, b);
  });

  it('asks a peer that is not heard, and makes new keys when it has lost its own', async () => {
    const [a, b] = await connected({ timing: { silence: 30 } });
    const lost = a.pair.current?.outboundSpi ?? 0;
    // The peer's daemon dies without a word and another takes its place.
    await b.pair.close({ tellPeer: false });
    const reborn = new End(contexts.b, 0xf000, () => a, {});
    ends.push(reborn);
    Object.defineProperty(b, 'pair', { value: reborn.pair });
    // More than the few of its own by which it has looked after the path.
    a.pair.counted([{ spi: lost, direction: 'out', packets: 100n, bytes: 100n }]);
    await until(
      'new keys',
      () => a.pair.current !== undefined && reborn.pair.current !== undefined,
    );
    assert.notEqual(a.pair.current?.outboundSpi, lost);
    assertSame(a, reborn);
  });

  it('P31 answers probes from the kernel, and makes new keys when that has lost an SA', async () => {
    const [a, b] = await connected();
    const { inboundSpi = 0, outboundSpi = 0 } = b.pair.current ?? {};
    assert.ok(await b.pair.receives(inboundSpi));
    b.kernel.inbound.clear();
    b.kernel.outbound.clear();
    assert.ok(!(await b.pair.receives(inboundSpi)));
    b.pair.lost(inboundSpi, 'in');
    b.pair.lost(outboundSpi, 'out');
    await until('new keys', () =>
      [a, b].every(
        ({ pair }) =>
          pair.current &&
          pair.current.inboundSpi !== inboundSpi &&
          pair.current.outboundSpi !== inboundSpi,
      ),
    );
    assertSame(a, b);
  });

  it('leaves a pair alone that answers, though nothing is heard', async () => {
    const [a, b] = await connected({ timing: { silence: 20 } });
    const { current } = a.pair;
    let asked = 0;
    const receives = b.pair.receives.bind(b.pair);
    b.pair.receives = (spi) => {
      asked++;
      return receives(spi);
    };
    for (let packets = 1n; asked < 2; packets++) {
      a.pair.counted([{ spi: current?.outboundSpi ?? 0, direction: 'out', packets, bytes: 1n }]);
      await delay(5);
    }
    assert.deepEqual(a.pair.current, current);
  });

  it('gives idle SAs up at both ends, until the next packet', async () => {
    const [a, b] = await connected({ timing: { idle: 60, overlap: 20 } });
    await until('nothing left', () =>
      [a, b].every(({ kernel }) => kernel.inbound.size + kernel.outbound.size === 0),
    );
    b.pair.acquire();
    await until('keys', () => b.pair.current !== undefined && a.pair.current !== undefined);
  });

  it('stops sending as soon as the peer tells that it leaves', async () => {
    const [a, b] = await connected();
    await b.pair.close({ tellPeer: true });
    await until('no outbound SA', () => a.kernel.outbound.size === 0);
    assert.equal(a.pair.current, undefined);
    await until('nothing left', () => a.kernel.inbound.size === 0);
  });

  const passing = (end: End): boolean | null | undefined => end.pair.path?.passes;

  it('finds out that ESP passes, and stays with it', async () => {
    const [a, b] = await connected();
    await until('it is known', () => passing(a) === true && passing(b) === true);
    assert.deepEqual([a.pair.path?.encapsulation, a.pair.path?.why], ['esp', 'direct']);
  });

  it('goes over to UDP, at both ends and with new keys, where ESP does not pass', async () => {
    for (const blocked of ['a', 'b', 'both']) {
      const [a, b] = make();
      if (blocked !== 'b') a.passes = (inUdp) => inUdp;
      if (blocked !== 'a') b.passes = (inUdp) => inUdp;
      b.pair.acquire();
      await until('UDP', () => [a, b].every(({ pair }) => pair.path?.why === 'blocked'));
      await until('it passes', () => passing(a) === true && passing(b) === true);
      await until('one pair', () => single(a, b));
      assertSame(a, b);
      for (const end of [a, b]) {
        const spi = end.pair.current?.outboundSpi ?? 0;
        assert.ok(end.kernel.inUdp.get(spi), blocked);
      }
      const log = [...a.log, ...b.log].filter((line) => line.startsWith('path-blocked'));
      assert.match(log[0] ?? '', /"next":"ESP in UDP"/);
    }
  });

  it('agrees anew when one end changes its terms while keys are agreed on by the old ones', async () => {
    const [a, b] = make({ slow: [5] });
    for (const end of [a, b]) end.policy = 'udp';
    a.pair.acquire();
    await until('UDP', () => [a, b].every(({ pair }) => pair.path?.why === 'policy'));
    a.policy = 'auto';
    const { dial } = a;
    a.dial = async () => {
      a.dial = dial;
      const stream = await dial();
      // It has answered by its old terms, or is about to.
      b.policy = 'auto';
      b.pair.renew();
      return stream;
    };
    a.pair.renew();
    await until('ESP', () => [a, b].every(({ pair }) => pair.path?.why === 'direct'));
    await until('one pair', () => single(a, b));
    assertSame(a, b);
  });

  it('says so once, and keeps its keys, where nothing passes', async () => {
    const [a, b] = make();
    for (const end of [a, b]) end.passes = () => false;
    a.pair.acquire();
    const told = (end: End): number => end.log.filter((line) => /^path-blocked/.test(line)).length;
    await until('it was tried in UDP', () =>
      [a, b].every((end) => end.pair.path?.encapsulation === 'udp' && told(end) >= 1),
    );
    await until('it is known', () => passing(a) === false && passing(b) === false);
    await until('one pair', () => single(a, b));
    assertSame(a, b);
  });

  it('P20 makes new SAs between the new ends when one of them moves', async () => {
    const [a, b] = await connected();
    const before = a.pair.current?.outboundSpi;
    const [there, here] = [
      { local: '10.0.0.9', remote: '10.0.0.2' },
      { local: '10.0.0.2', remote: '10.0.0.9' },
    ];
    b.pair.move(here);
    a.pair.move(there);
    await until('keys', () => a.pair.current !== undefined && b.pair.current !== undefined);
    await until('one pair', () => single(a, b));
    assert.notEqual(a.pair.current?.outboundSpi, before);
    assertSame(a, b);
    assert.deepEqual([a.kernel.underlays, b.kernel.underlays], [[there], [here]]);
  });
});

async function breakWhen(holds: () => boolean, stream: Stream): Promise<void> {
  await until('the moment to break', holds);
  stream.abort(new Error('the network broke'));
}
