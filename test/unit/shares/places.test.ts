import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Origin, originOf } from '../../../src/shares/origin.ts';
import { type Place, Places } from '../../../src/shares/places.ts';

/** Whoever enters again and again, and never leaves by itself. */
class Party {
  readonly held = new Set<Place>();
  evicted = 0;
  refused = 0;
  readonly #places: Places;

  constructor(places: Places) {
    this.#places = places;
  }

  enter(origin: Origin): Place | undefined {
    let place: Place | undefined;
    place = this.#places.enter(origin, () => {
      this.evicted++;
      if (place) this.held.delete(place);
    });
    if (place) this.held.add(place);
    else this.refused++;
    return place;
  }
}

const byte = fc.nat(255);
/** Where attackers are: whole sites, in both families, coarse and fine. */
const site = fc.oneof(
  fc.tuple(byte, byte, byte).map(
    ([a, b, c]) =>
      (host: number) =>
        `10.${a % 4}.${b % 4}.${(c + host) % 256}`,
  ),
  fc.tuple(byte, byte).map(
    ([a, b]) =>
      (host: number) =>
        `${11 + (a % 90)}.${b}.${host % 256}.1`,
  ),
  fc.tuple(byte, byte).map(([a, b]) => (host: number) => {
    const [subnet, interfaceId] = [(b * 256 + (host % 256)).toString(16), host.toString(16)];
    return `2001:db${a % 10}:${a.toString(16)}:${subnet}::${interfaceId}`;
  }),
);

describe('Places for strangers', () => {
  it('P28 keep an honest site in, with hostile hosts in any 64 sites', () => {
    const hostile = fc.array(site, { minLength: 1, maxLength: 64 });
    const arrivals = fc.array(fc.tuple(fc.nat(63), fc.nat(1_000), fc.boolean()), {
      minLength: 500,
      maxLength: 1_500,
    });
    fc.assert(
      fc.property(hostile, arrivals, (sites, all) => {
        let now = 0;
        const places = new Places({ capacity: 130, silent: 1_000, clock: () => now });
        const enemy = new Party(places);
        const honest = new Party(places);
        for (const [which, host, isHonest] of all) {
          now += host;
          // Its share among 65 is two places.
          if (isHonest && honest.held.size < 2) {
            assert.ok(honest.enter(originOf('192.0.2.7')), 'it gets in');
          } else {
            const at = sites[which % sites.length];
            assert.ok(at);
            enemy.enter(originOf(at(host)));
          }
          if (isHonest && host % 3 === 0) {
            const [one] = honest.held;
            one?.leave();
            if (one) honest.held.delete(one);
          }
          assert.equal(honest.evicted, 0);
          assert.equal(places.size, honest.held.size + enemy.held.size);
          assert.ok(places.size <= 130);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('P28 give an honest host its part of a site that is hostile otherwise', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(200), { minLength: 300, maxLength: 600 }), (hosts) => {
        const places = new Places({ capacity: 100, perSite: 40, clock: () => 0 });
        const honest = new Party(places);
        const enemy = new Party(places);
        for (const [i, host] of hosts.entries()) {
          enemy.enter(originOf(`198.51.100.${1 + (host % 30)}`));
          enemy.enter(originOf(`203.0.${host}.1`));
          if (i === 200) assert.ok(honest.enter(originOf('198.51.100.250')));
          assert.ok(places.size <= 100);
        }
        assert.equal(honest.evicted, 0);
      }),
      { numRuns: 50 },
    );
  });

  it('take back the longest silent of the largest host, and of their own only silent ones', () => {
    let now = 0;
    const places = new Places({ capacity: 3, silent: 1_000, clock: () => now });
    const gone: string[] = [];
    const enter = (address: string, name: string) =>
      places.enter(originOf(address), () => void gone.push(name));
    const first = enter('10.0.0.1', 'first');
    enter('10.0.0.1', 'second');
    enter('10.0.0.1', 'third');
    now = 900;
    assert.equal(enter('10.0.0.1', 'too soon'), undefined);
    first?.progress();
    now = 1_000;
    assert.ok(enter('10.0.0.1', 'fourth'));
    assert.deepEqual(gone, ['second']);
    assert.ok(enter('10.0.0.2', 'neighbour'));
    assert.deepEqual(gone, ['second', 'third']);
    first?.leave();
    first?.leave();
    assert.equal(places.size, 2);
  });

  it('hold a host and a site to their limits while there is room', () => {
    const places = new Places({ capacity: 100, perHost: 2, perSite: 3, clock: () => 0 });
    const enter = (address: string) => places.enter(originOf(address), () => {});
    for (let n = 0; n < 9; n++) enter('10.0.0.1');
    assert.equal(places.size, 2);
    for (let n = 0; n < 9; n++) enter(`10.0.0.${10 + n}`);
    assert.equal(places.size, 3);
    for (let n = 0; n < 9; n++) enter(`10.0.${10 + n}.1`);
    assert.equal(places.size, 12);
  });

  it('remember nobody who has left', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(byte, byte)), (hosts) => {
        const places = new Places({ capacity: 20, clock: () => 0 });
        const party = new Party(places);
        for (const [a, b] of hosts) party.enter(originOf(`10.${a}.${b}.1`));
        for (const each of [...party.held]) each.leave();
        assert.equal(places.size, 0);
        for (let n = 0; n < 20; n++) assert.ok(party.enter(originOf(`10.0.${n}.1`)));
      }),
    );
  });
});

describe('The origin of a remote', () => {
  it('is a host within sites, in the steps in which addresses are given out', () => {
    assert.deepEqual(originOf('192.0.2.7').steps, ['192.0.0.0/16', '192.0.2.0/24', '192.0.2.7']);
    assert.deepEqual(originOf('::ffff:192.0.2.7'), originOf('192.0.2.7'));
    const { host, site: where, steps } = originOf('2001:db8:1:2345::9');
    assert.deepEqual(steps, ['2001:db8::/32', where, '2001:db8:1:2300::/56', host]);
    assert.equal(where, '2001:db8:1::/48');
    assert.equal(host, '2001:db8:1:2345::/64');
    assert.equal(originOf('2001:db8:1:2345:ffff::1').host, host);
    assert.deepEqual(originOf('nowhere').steps, ['unknown']);
  });
});
