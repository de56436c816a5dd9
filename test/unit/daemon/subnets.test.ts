import assert from 'node:assert/strict';
import fc from 'fast-check';
import { assignSubnets, subnetConflicts } from '../../../src/daemon/subnets.ts';
import { overlap, parseSubnet } from '../../../src/policy/subnet.ts';

const assign = (announced: Record<string, string[]>, reserved: string[] = []) =>
  Object.fromEntries(
    assignSubnets(
      Object.entries(announced).map(([id, subnets]) => ({ id, since: 7, subnets })),
      reserved,
    ),
  );

describe('subnets of peers', () => {
  it('P26 of two gateways that announce the same, the first one keeps it, whatever its PeerID', () => {
    const first = { id: 'b', since: 7, subnets: ['10.20.0.0/16'] };
    const second = { id: 'a', since: 8, subnets: ['10.20.7.0/24', '10.21.0.0/16'] };
    const assigned = new Map([
      ['b', ['10.20.0.0/16']],
      ['a', ['10.21.0.0/16']],
    ]);
    const conflicts = [{ subnet: '10.20.7.0/24', holder: 'b', refused: 'a' }];
    for (const announced of [
      [first, second],
      [second, first],
    ]) {
      assert.deepEqual(assignSubnets(announced, []), assigned);
      assert.deepEqual(subnetConflicts(announced), conflicts);
    }
    assert.deepEqual(assignSubnets([second], []), new Map([['a', second.subnets]]));
    assert.deepEqual(subnetConflicts([second]), []);
  });

  it('of two gateways as old as each other the lower PeerID has it', () => {
    const both = { b: ['10.20.0.0/16', 'fd20::/48'], a: ['10.20.7.0/24'] };
    assert.deepEqual(assign(both), { a: ['10.20.7.0/24'], b: ['fd20::/48'] });
    assert.deepEqual(assign({ b: both.b }), { b: both.b }, 'and the other one when that has gone');
  });

  it('what is reserved is behind nobody', () => {
    const reserved = ['10.90.0.0/16', '192.0.2.1/32'];
    assert.deepEqual(assign({ a: ['10.0.0.0/8', '192.0.2.0/24', '10.90.1.0/24'] }, reserved), {});
    assert.deepEqual(assign({ a: ['10.91.0.0/16', '0.0.0.0/0'] }, reserved), {
      a: ['10.91.0.0/16'],
    });
  });

  it('are disjoint, and the same in whatever order members are told of', () => {
    const cidr = fc
      .tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 12, max: 16 }))
      .map(([part, length]) => `10.${(part >> (16 - length)) << (16 - length)}.0.0/${length}`);
    const announced = fc.uniqueArray(
      fc.record({ id: fc.string(), since: fc.nat(2), subnets: fc.array(cidr, { maxLength: 4 }) }),
      { selector: ({ id }) => id, maxLength: 6 },
    );
    fc.assert(
      fc.property(announced, (all) => {
        const assigned = assignSubnets(all, []);
        const blocks = [...assigned.values()].flat().map(parseSubnet);
        for (const [i, one] of blocks.entries()) {
          assert.ok(blocks.every((other, j) => i === j || !overlap(one, other)));
        }
        assert.deepEqual(assignSubnets(all.toReversed(), []), assigned);
        const conflicts = subnetConflicts(all);
        assert.deepEqual(subnetConflicts(all.toReversed()), conflicts);
        for (const { subnet, refused } of conflicts) {
          assert.ok(
            !(assigned.get(refused) ?? []).includes(subnet),
            'not led to whom it is refused',
          );
        }
      }),
    );
  });
});
