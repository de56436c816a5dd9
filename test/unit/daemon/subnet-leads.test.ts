import assert from 'node:assert/strict';
import { SubnetLeads } from '../../../src/daemon/pair/subnet-leads.ts';
import type { Member } from '../../../src/overlay/membership.ts';
import { credentialFor, identity } from '../overlay/harness.ts';

const service = await identity();
const SITE = '10.30.0.0/16';

async function member(subnets: string[] = []): Promise<Member> {
  const { id: peerId } = await identity();
  const credential = await credentialFor(service.id, service.key, peerId, { subnets });
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
});
