import assert from 'node:assert/strict';
import { SubnetLeads } from '../../../src/daemon/pair/subnet-leads.ts';
import type { Member } from '../../../src/overlay/membership.ts';
import { signLease } from '../../../src/records/lease.ts';
import { credentialFor, identity } from '../overlay/harness.ts';

const service = await identity();
const SITE = '10.30.0.0/16';

async function member(subnets: string[] = [], since = 7): Promise<Member> {
  const { id: peerId } = await identity();
  const lease = signLease(
    { serviceId: service.id, peerId, ipv4: '100.64.0.1', since },
    service.key,
  );
  const credential = await credentialFor(service.id, service.key, peerId, { subnets, lease });
  return { ...credential.value, credential, multiaddrs: [] };
}

describe('subnets led to peers', () => {
  const underlay = (remote: string) => ({ local: '192.0.2.1', remote });

  async function arrange(gatewayAt = '192.0.2.2') {
    const [gateway, other] = [await member([SITE]), await member()];
    const kernel = new Map<string, readonly string[]>();
    const leads = new SubnetLeads({
      dataPlane: { updatePeerSubnets: async (id, subnets) => void kernel.set(id, subnets) },
      permitted: ({ subnets }) => subnets,
      reserved: () => ['198.51.100.1/32'],
      announced: () => ({ id: 'self', since: 1, subnets: [] }),
      log: () => {},
    });
    const [id, otherId] = [gateway.peerId.toString(), other.peerId.toString()];
    const gatewayEntry = { underlay: underlay(gatewayAt), seenAt: undefined, subnets: [] };
    const follow = async (remote: string, seenAt?: string): Promise<readonly string[]> => {
      const entry = { underlay: underlay(remote), seenAt, subnets: [] };
      const entries = new Map([
        [id, gatewayEntry],
        [otherId, entry],
      ]);
      await leads.follow(entries, [gateway, other]);
      return kernel.get(id) ?? [];
    };
    return { leads, follow, id, otherId };
  }

  it('stay with their gateway whatever address another member tells', async () => {
    const { leads, follow, id, otherId } = await arrange();
    assert.deepEqual(await follow('10.30.0.5'), [SITE]);
    assert.equal(leads.isBehindAnother(otherId, '10.30.0.5'), true);
    assert.equal(leads.isBehindAnother(otherId, '192.0.2.3'), false);
    assert.equal(leads.isBehindAnother(id, '10.30.0.5'), false, 'its own');
  });

  it('are none where a connection has shown another member in them', async () => {
    const { leads, follow, otherId } = await arrange();
    assert.deepEqual(await follow('10.30.0.5', '10.30.0.5'), []);
    assert.equal(leads.isBehindAnother(otherId, '10.30.0.5'), false);
    assert.deepEqual(await follow('192.0.2.3', '192.0.2.3'), [SITE], 'and come when it has moved');
  });

  it('are none where the way to the gateway itself would lead through it', async () => {
    const { follow } = await arrange('10.30.0.1');
    assert.deepEqual(await follow('192.0.2.3'), []);
  });

  it('P26 stay with the gateway that has the older lease; the conflict is told once, and shown while it lasts', async () => {
    const [first, second] = [await member([SITE], 7), await member(['10.30.7.0/24'], 8)];
    const told: unknown[] = [];
    const kernel = new Map<string, readonly string[]>();
    let own: string[] = [];
    const leads = new SubnetLeads({
      dataPlane: { updatePeerSubnets: async (id, subnets) => void kernel.set(id, subnets) },
      permitted: ({ subnets }) => subnets,
      reserved: () => own,
      announced: () => ({ id: 'self', since: 9, subnets: own }),
      log: (event, facts) => event === 'subnet-conflict' && told.push(facts),
    });
    const [id, otherId] = [first.peerId.toString(), second.peerId.toString()];
    const entry = (at: string) => ({ underlay: underlay(at), seenAt: undefined, subnets: [] });
    const entries = new Map([
      [id, entry('192.0.2.2')],
      [otherId, entry('192.0.2.3')],
    ]);
    const conflict = { subnet: '10.30.7.0/24', holder: id, refused: otherId };
    await leads.follow(entries, [second]);
    assert.deepEqual(kernel.get(otherId), ['10.30.7.0/24'], 'alone it has its subnet');
    for (const listed of [
      [first, second],
      [second, first],
    ]) {
      await leads.follow(entries, listed);
      assert.deepEqual(kernel.get(id), [SITE]);
      assert.deepEqual(kernel.get(otherId), []);
      assert.deepEqual(leads.conflicts, [conflict]);
    }
    assert.deepEqual(told, [conflict]);
    await leads.follow(entries, [first]);
    assert.deepEqual(leads.conflicts, []);
    // This member's own subnets are behind nobody else for it, whoever was first; the others see whose it is.
    own = ['10.30.8.0/24'];
    await leads.follow(entries, [first]);
    assert.deepEqual(kernel.get(id), []);
    assert.deepEqual(leads.conflicts, [{ subnet: '10.30.8.0/24', holder: id, refused: 'self' }]);
  });
});
