import assert from 'node:assert/strict';
import { multiaddr } from '@multiformats/multiaddr';
import fc from 'fast-check';
import { Allowance } from '../../../src/overlay/allowance.ts';
import { Diversity, networkOf, sharedBits } from '../../../src/overlay/diversity.ts';
import { identities, identity, nth } from './harness.ts';

const self = await identity();
const peers = await identities(40);

describe('diversity of the routing table', () => {
  it('counts an IPv4 /16 and an IPv6 /48 as one network, and loopback as none', () => {
    const network = (text: string): string | undefined => networkOf(multiaddr(text));
    assert.equal(network('/ip4/10.1.2.3/tcp/1'), network('/ip4/10.1.200.9/tcp/2'));
    assert.notEqual(network('/ip4/10.1.2.3/tcp/1'), network('/ip4/10.2.2.3/tcp/1'));
    assert.equal(network('/ip6/2001:db8:1:2::1/tcp/1'), network('/ip6/2001:db8:1:ffff::/tcp/1'));
    assert.notEqual(network('/ip6/2001:db8:1::/tcp/1'), network('/ip6/2001:db8:2::/tcp/1'));
    assert.equal(network('/ip4/127.0.0.1/tcp/1'), undefined);
    assert.equal(network('/ip6/::1/tcp/1'), undefined);
    assert.equal(network('/dns4/example.org/tcp/1'), undefined);
  });

  it('lets at most two peers of a network into a bucket, in any order of coming and going', () => {
    const host = fc.tuple(fc.nat(39), fc.nat(2), fc.boolean());
    fc.assert(
      fc.property(fc.array(host, { maxLength: 200 }), (steps) => {
        const diversity = new Diversity(self.id, 2);
        const table = new Map<number, string>();
        for (const [index, net, leaves] of steps) {
          const { id } = nth(peers, index);
          const address = multiaddr(`/ip4/10.${net}.0.${index}/tcp/1`);
          if (leaves) {
            diversity.remove(id);
            table.delete(index);
          } else if (!table.has(index) && diversity.hasRoom(id, address)) {
            diversity.add(id, address);
            table.set(index, `${sharedBits(self.id, id)} ${net}`);
          }
          for (const place of table.values()) {
            assert.ok([...table.values()].filter((each) => each === place).length <= 2);
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  it('has room again when a peer has gone', () => {
    const diversity = new Diversity(self.id, 1);
    const bucket = peers.filter(({ id }) => sharedBits(self.id, id) === 0);
    const [a, b] = [nth(bucket, 0).id, nth(bucket, 1).id];
    const address = multiaddr('/ip4/10.0.0.1/tcp/1');
    diversity.add(a, address);
    assert.ok(!diversity.hasRoom(b, address));
    assert.ok(diversity.hasRoom(b, multiaddr('/ip4/10.1.0.1/tcp/1')));
    diversity.remove(a);
    assert.ok(diversity.hasRoom(b, address));
  });
});

describe('allowances', () => {
  it('never grant more than the burst and what time gives, also when the clock goes back', () => {
    const step = fc.record({ ms: fc.integer({ min: -2000, max: 2000 }), amount: fc.nat(10) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        let now = 1_000_000;
        let forward = 0;
        let used = 0;
        const allowance = new Allowance({ perSecond: 5, burst: 20 }, () => now, 8);
        for (const { ms, amount } of steps) {
          now += ms;
          forward += Math.max(0, ms);
          if (allowance.take('peer', amount)) used += amount;
          assert.ok(used <= 20 + (forward / 1000) * 5 + 1e-6);
        }
      }),
    );
  });

  it('are apart for each peer, and remembered of a bounded number of peers', () => {
    const allowance = new Allowance({ perSecond: 0, burst: 1 }, () => 0, 2);
    assert.ok(allowance.take('a', 1) && allowance.take('b', 1));
    assert.ok(!allowance.take('a', 1) && !allowance.take('b', 1));
    allowance.take('c', 1);
    assert.ok(allowance.take('a', 1), 'the one used longest ago was forgotten');
  });
});
