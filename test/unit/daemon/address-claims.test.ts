import assert from 'node:assert/strict';
import fc from 'fast-check';
import { settleAddresses } from '../../../src/daemon/address-claims.ts';
import { AddressWatch } from '../../../src/daemon/address-watch.ts';
import type { Member } from '../../../src/overlay/membership.ts';
import type { Credential } from '../../../src/records/credential.ts';
import { signLease } from '../../../src/records/lease.ts';
import { credentialFor, identities, identity, nth } from '../overlay/harness.ts';

const [service, superPeer, me] = [await identity(), await identity(), await identity()];
const others = await identities(4);

async function member(who: number | 'me', ipv4: string, since: number): Promise<Member> {
  const { id: peerId } = who === 'me' ? me : nth(others, who);
  const lease = signLease({ serviceId: service.id, peerId, ipv4, since }, superPeer.key);
  const credential = await credentialFor(service.id, superPeer.key, peerId, { ipv4, lease });
  const { vmid, roles, ipv6, subnets, notAfter }: Credential = credential.value;
  const attributes = { peerId, vmid, roles, ipv4, ipv6, subnets, notAfter };
  return { ...attributes, multiaddrs: [], credential };
}

const ids = (members: readonly Member[]): string[] => members.map(({ peerId }) => `${peerId}`);

describe('P26 members that claim one virtual address', () => {
  it('are one member with it, the one with the older lease, in whatever order they are listed', async () => {
    const self = await member('me', '100.64.0.1', 1);
    const first = await member(0, '100.64.0.9', 100);
    const second = await member(1, '100.64.0.9', 200);
    const apart = await member(2, '100.64.0.8', 300);
    for (const listed of [
      [first, second, apart, self],
      [apart, second, self, first],
    ]) {
      const { members, conflicts } = settleAddresses(listed, self.credential);
      assert.deepEqual(ids(members).sort(), ids([first, apart, self]).sort());
      assert.deepEqual(
        conflicts.map(({ ipv4, holder, refused }) => [ipv4, `${holder}`, `${refused}`]),
        [['100.64.0.9', `${first.peerId}`, `${second.peerId}`]],
      );
    }
    // The first one leaves: the second one comes in.
    assert.deepEqual(ids(settleAddresses([second], self.credential).members), ids([second]));
  });

  it('are no peers of this member where the address is its own, whoever has the older lease', async () => {
    const self = await member('me', '100.64.0.9', 200);
    for (const since of [100, 300]) {
      const other = await member(0, '100.64.0.9', since);
      const { members, conflicts } = settleAddresses([other, self], self.credential);
      assert.deepEqual(ids(members), ids([self]));
      const holder = since < 200 ? other : self;
      assert.deepEqual(
        conflicts.map((each) => `${each.holder}`),
        ids([holder]),
      );
    }
  });

  it('leave each address to one at most, the same everywhere', async () => {
    const self = await member('me', '100.64.0.1', 50);
    const many = await Promise.all(
      others.flatMap((_, who) =>
        ['100.64.0.1', '100.64.0.2'].flatMap((ipv4) => [10, 60].map((at) => member(who, ipv4, at))),
      ),
    );
    fc.assert(
      fc.property(
        fc.array(fc.nat(3), { minLength: 4, maxLength: 4 }),
        fc.nat(100),
        (pick, turn) => {
          const listed = pick.map((which, who) => nth(many, 4 * who + which));
          const turned = [...listed.slice(turn % 4), ...listed.slice(0, turn % 4)];
          const one = settleAddresses(listed, self.credential);
          const two = settleAddresses(turned, self.credential);
          assert.deepEqual(ids(one.members).sort(), ids(two.members).sort());
          const addresses = one.members.map(({ ipv4 }) => ipv4);
          assert.equal(new Set(addresses).size, addresses.length);
          assert.ok(!addresses.includes('100.64.0.1'));
        },
      ),
    );
  });

  it('are told once, and again only after the conflict has ended', async () => {
    const self = await member('me', '100.64.0.1', 1);
    const first = await member(0, '100.64.0.9', 100);
    const second = await member(1, '100.64.0.9', 200);
    const told: string[] = [];
    const watch = new AddressWatch(
      () => self.credential,
      (event) => told.push(event),
    );
    for (let i = 0; i < 3; i++) watch.settle([first, second]);
    assert.deepEqual(told, ['address-conflict']);
    assert.equal(watch.conflicts.length, 1);
    watch.settle([first]);
    assert.equal(watch.conflicts.length, 0);
    watch.settle([second, first]);
    assert.equal(told.length, 2);
  });
});
