import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DEFAULT_LIMITS, type Entry, Limiter } from '../../../src/admission/limits.ts';
import { originOf } from '../../../src/shares/origin.ts';

describe('origin of a connection', () => {
  const cases = {
    '192.0.2.7': { host: '192.0.2.7', site: '192.0.2.0/24' },
    '::ffff:192.0.2.7': { host: '192.0.2.7', site: '192.0.2.0/24' },
    '2001:db8:1:2:3:4:5:6': { host: '2001:db8:1:2::/64', site: '2001:db8:1::/48' },
    '': { host: 'unknown', site: 'unknown' },
    'not an address': { host: 'unknown', site: 'unknown' },
  };
  for (const [address, origin] of Object.entries(cases)) {
    it(`of "${address}"`, () => {
      const { host, site } = originOf(address);
      assert.deepEqual({ host, site }, origin);
    });
  }
});

describe('P5 limits of admission', () => {
  let now = 0;
  const clock = () => now;
  let peers = 0;
  /** @param inside without those whose place went to another */
  function enter(limiter: Limiter, address: string, inside = new Set<Entry>()): Entry | undefined {
    const entry = limiter.enter(originOf(address), `peer ${peers++}`, () => {
      if (entry) inside.delete(entry);
      entry?.leave();
    });
    if (entry) inside.add(entry);
    return entry;
  }

  beforeEach(() => {
    now = 1_000_000;
  });

  /** @returns those that are inside in the end */
  function flood(
    limiter: Limiter,
    addresses: string[],
    attempts: number,
    inside = new Set<Entry>(),
  ): Entry[] {
    for (let i = 0; i < attempts; i++) {
      enter(limiter, addresses[i % addresses.length] ?? '', inside);
    }
    return [...inside];
  }

  it('let a site of 200 VMs behind one NAT address in at once', () => {
    assert.equal(flood(new Limiter(DEFAULT_LIMITS, clock), ['192.0.2.1'], 200).length, 200);
  });

  it('hold a flood from one host at its share, and nobody else notices', () => {
    const limiter = new Limiter(DEFAULT_LIMITS, clock);
    assert.equal(flood(limiter, ['192.0.2.1'], 5000).length, DEFAULT_LIMITS.halfOpenPerHost);
    const other = enter(limiter, '192.0.2.2');
    assert.ok(other, 'another host of the same site');
    assert.deepEqual(other.slowdown('shop'), { delay: 0, bits: 0 });
    assert.equal(flood(limiter, ['198.51.100.1'], 200).length, 200);
  });

  it('hold a flood from one site, whatever addresses it takes', () => {
    const limiter = new Limiter(DEFAULT_LIMITS, clock);
    const v4 = Array.from({ length: 254 }, (_, i) => `192.0.2.${i + 1}`);
    assert.equal(flood(limiter, v4, 5000).length, DEFAULT_LIMITS.halfOpenPerSite);
    const v6 = Array.from({ length: 5000 }, (_, i) => `2001:db8:1:${i.toString(16)}::1`);
    assert.equal(flood(limiter, v6, 5000).length, DEFAULT_LIMITS.halfOpenPerSite);
    assert.ok(enter(limiter, '2001:db8:2::1'));
  });

  it('bound the rate of those who leave at once', () => {
    const limiter = new Limiter(DEFAULT_LIMITS, clock);
    const visit = (attempts: number): number => {
      let served = 0;
      for (let i = 0; i < attempts; i++) {
        const entry = enter(limiter, '192.0.2.1');
        entry?.leave();
        if (entry) served++;
      }
      return served;
    };
    assert.equal(visit(1000), DEFAULT_LIMITS.ratePerHost.burst);
    now += 1000;
    assert.equal(visit(1000), DEFAULT_LIMITS.ratePerHost.rate);
  });

  it('are bounded in total, and in SRP below that, so that renewals find room', () => {
    const limiter = new Limiter(DEFAULT_LIMITS, clock);
    const sites = Array.from({ length: 100 }, (_, i) => `10.${i}.0.1`);
    const inside = new Set<Entry>();
    for (let second = 0; second < 5; second++) {
      flood(limiter, sites, 2000, inside);
      now += 1000;
    }
    assert.equal(inside.size, DEFAULT_LIMITS.halfOpen);
    for (const entry of [...inside]) if (inside.has(entry)) entry.startSrp();
    const { srp, halfOpen } = DEFAULT_LIMITS;
    assert.ok(inside.size >= srp && inside.size < halfOpen, 'the surplus had to go');
    for (const entry of inside) entry.leave();
    assert.equal(limiter.halfOpen, 0);
    assert.ok(enter(limiter, '10.200.0.1')?.startSrp());
  });

  it('P28 keep no honest site out, with floods from 64 sites that take all they can', () => {
    const limiter = new Limiter(DEFAULT_LIMITS, clock);
    const hostile = Array.from({ length: 64 }, (_, i) => `10.${i}.0.1`);
    const inside = new Set<Entry>();
    for (let second = 0; second < 40; second++) {
      for (let n = 0; n < 6_400; n++) {
        enter(limiter, hostile[n % 64] ?? '', inside)?.startSrp();
        // Each takes its place and leaves it, so that the rate is what they fill.
        if (n % 2 === 0) {
          const [first] = inside;
          first?.leave();
          if (first) inside.delete(first);
        }
      }
      const honest = new Set<Entry>();
      const vm = enter(limiter, `192.0.2.${second}`, honest);
      assert.ok(vm, `a VM of another site, after ${second} s`);
      assert.ok(vm.startSrp());
      // Others come and go while it computes its proof.
      for (let n = 0; n < 2_000; n++) enter(limiter, hostile[n % 64] ?? '', inside)?.startSrp();
      assert.ok(honest.has(vm), 'it keeps its place');
      vm.leave();
      now += 10_000;
    }
  });

  it('let one PeerID have two admissions open', () => {
    const limiter = new Limiter(DEFAULT_LIMITS, clock);
    const origins = ['192.0.2.1', '198.51.100.1', '203.0.113.1'].map(originOf);
    const entries = origins.map((origin) => limiter.enter(origin, 'peer'));
    assert.deepEqual(entries.map(Boolean), [true, true, false]);
  });

  it('give back what they took, for any order of coming and going', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5), fc.boolean()), { maxLength: 200 }), (steps) => {
        const limiter = new Limiter({ ...DEFAULT_LIMITS, halfOpen: 20, srp: 10 }, clock);
        const inside = new Set<Entry>();
        for (const [host, come] of steps) {
          if (come) enter(limiter, `192.0.2.${host}`, inside)?.startSrp();
          else {
            const [first] = inside;
            first?.leave();
            if (first) inside.delete(first);
          }
          assert.equal(limiter.halfOpen, inside.size);
          assert.ok(inside.size <= 20);
        }
        for (const entry of inside) entry.leave();
        assert.equal(limiter.halfOpen, 0);
      }),
    );
  });

  it('set a puzzle when SRP is more than half taken, harder the fuller', () => {
    const limiter = new Limiter({ ...DEFAULT_LIMITS, srp: 100 }, clock);
    const bits: number[] = [];
    for (let i = 0; i < 100; i++) {
      const entry = enter(limiter, `10.${i}.0.1`);
      assert.ok(entry);
      assert.ok(entry.startSrp());
      bits.push(entry.slowdown('shop').bits);
    }
    assert.equal(bits[49], 0);
    assert.ok((bits[50] ?? 0) >= 12);
    assert.ok((bits[99] ?? 0) > (bits[50] ?? 0));
  });
});

describe('wrong guesses', () => {
  let now = 1_000_000;
  const make = () => new Limiter(DEFAULT_LIMITS, () => now);
  let peers = 0;

  function guess(limiter: Limiter, address: string, times: number, service = 'shop'): boolean[] {
    return Array.from({ length: times }, () => {
      const entry = limiter.enter(originOf(address), `peer ${peers++}`);
      assert.ok(entry, 'a guess is never refused for being a guess');
      const told = entry.wrongGuess(service);
      entry.leave();
      return told;
    });
  }

  const slowdown = (limiter: Limiter, address: string, service = 'shop') => {
    const entry = limiter.enter(originOf(address), `peer ${peers++}`);
    assert.ok(entry);
    const result = entry.slowdown(service);
    entry.leave();
    return result;
  };

  it('slow down who makes them, up to four seconds and 20 bits', () => {
    const limiter = make();
    guess(limiter, '192.0.2.1', 3);
    assert.deepEqual(slowdown(limiter, '192.0.2.1'), { delay: 0, bits: 0 });
    guess(limiter, '192.0.2.1', 3);
    const some = slowdown(limiter, '192.0.2.1');
    assert.ok(some.delay >= 250 && some.bits >= 12);
    guess(limiter, '192.0.2.1', 190);
    const most = slowdown(limiter, '192.0.2.1');
    assert.equal(most.delay, 4000);
    assert.ok(most.bits <= 20);
  });

  it('do not touch other services, nor VMs elsewhere beyond a small puzzle', () => {
    const limiter = make();
    guess(limiter, '192.0.2.1', 99);
    assert.deepEqual(slowdown(limiter, '192.0.2.1', 'bank'), { delay: 0, bits: 0 });
    assert.deepEqual(slowdown(limiter, '198.51.100.1'), { delay: 0, bits: 0 });
    guess(limiter, '192.0.2.1', 200);
    const elsewhere = slowdown(limiter, '198.51.100.1');
    assert.equal(elsewhere.delay, 0);
    assert.ok(elsewhere.bits > 0 && elsewhere.bits <= 14);
  });

  it('are forgotten', () => {
    const limiter = make();
    guess(limiter, '192.0.2.1', 48);
    assert.ok(slowdown(limiter, '192.0.2.1').delay > 0);
    now += 5 * 60_000;
    assert.deepEqual(slowdown(limiter, '192.0.2.1'), { delay: 0, bits: 0 });
  });

  it('are reported once, then once a minute', () => {
    const limiter = make();
    const count = (told: boolean[]) => told.filter(Boolean).length;
    assert.equal(count(guess(limiter, '192.0.2.1', 3)), 0);
    assert.equal(count(guess(limiter, '192.0.2.1', 50)), 1);
    now += 60_000;
    assert.equal(count(guess(limiter, '192.0.2.1', 50)), 1);
  });
});
