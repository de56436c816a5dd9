import assert from 'node:assert/strict';
import { Roster } from '../../../src/daemon/roster.ts';
import type { Member } from '../../../src/overlay/membership.ts';
import { bytesOnly, identity } from '../overlay/harness.ts';
import { until } from './until.ts';

const ids = await Promise.all(Array.from({ length: 4 }, () => identity()));
const [a, b, c, d] = ids.map(({ id }, i): Member => {
  const own = { vmid: `vm${i}`, ipv4: `100.64.0.${i + 1}`, ipv6: `fd00::${i + 1}` };
  const nothing = { roles: [], subnets: [], multiaddrs: [], notAfter: 2 ** 40 };
  return { ...own, ...nothing, peerId: id, credential: bytesOnly(id, new Uint8Array()) };
});
assert.ok(a && b && c && d);

describe('members that count as peers', () => {
  let moving: Set<Member>;
  let holding: Set<Member>;
  let logged: string[];
  let roster: Roster;
  let told: string[];
  beforeEach(() => {
    moving = new Set();
    holding = new Set([a, b, c, d]);
    logged = [];
    told = [];
    roster = new Roster({
      moves: (member) => moving.has(member),
      holds: (member) => holding.has(member),
      log: (event) => void logged.push(event),
      ...{ interval: 5, listedInterval: 5 },
    });
    roster.on('change', (members) => void told.push(names(members)));
  });
  afterEach(() => roster[Symbol.dispose]());

  const names = (members: readonly Member[]): string =>
    members
      .map(({ vmid }) => vmid)
      .sort()
      .join();

  it('P12 one that super-peers drop stays while its SAs move packets, and no longer', async () => {
    moving.add(b);
    roster.follow([a, b, c]);
    roster.follow([a]);
    assert.equal(told.at(-1), 'vm0,vm1', 'c has no packets');
    assert.ok(roster.lists(a) && !roster.lists(b));
    assert.deepEqual(logged, ['unlisted-peer-kept']);
    moving.clear();
    await until('it has gone', () => told.at(-1) === 'vm0');
  });

  it('P33 one that is listed goes when its credential ends, though no super-peer says so, and comes back renewed', async () => {
    const { now } = Date;
    try {
      const ending = { ...b, notAfter: Math.floor(now() / 1000) + 60 };
      moving.add(ending);
      roster.follow([a, ending]);
      assert.equal(told.at(-1), 'vm0,vm1');
      Date.now = () => now() + 181_000;
      await until('it has gone', () => told.at(-1) === 'vm0');
      assert.ok(!roster.lists(ending));
      roster.follow([a, ending]);
      holding.delete(ending);
      roster.recheck();
      assert.equal(told.at(-1), 'vm0', 'nor does an old list bring it back');
      roster.follow([a, b]);
      assert.equal(told.at(-1), 'vm0,vm1');
    } finally {
      Date.now = now;
    }
  });

  it('P12 stays through further lists, is said once, and is listed again', () => {
    moving.add(b);
    roster.follow([a, b]);
    for (let i = 0; i < 3; i++) roster.follow([a, c]);
    assert.equal(told.at(-1), 'vm0,vm1,vm2');
    assert.equal(logged.length, 1);
    roster.follow([a, b]);
    assert.ok(roster.lists(b));
    assert.equal(names(roster.members()), 'vm0,vm1');
  });

  it('P11 P33 goes at once when its credential does not hold any more', () => {
    moving.add(b);
    roster.follow([a, b]);
    roster.follow([a]);
    holding.delete(b);
    roster.recheck();
    assert.equal(told.at(-1), 'vm0');
    holding.add(b);
    roster.follow([a]);
    assert.equal(told.at(-1), 'vm0', 'and does not come back by itself');
  });
});
