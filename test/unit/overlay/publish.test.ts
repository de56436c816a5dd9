import assert from 'node:assert/strict';
import type { Host } from '../../../src/overlay/host.ts';
import { PublishServer, publishRecord } from '../../../src/overlay/publish.ts';
import { DESCRIPTOR_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { DESCRIPTOR, type ServiceDescriptor } from '../../../src/records/descriptor.ts';
import { seal } from '../../../src/records/envelope.ts';
import { addresses, Cleanup, descriptorOf, identity, listen, nth, Tier } from './harness.ts';

const overlay = await identity();
const service = await identity();
const stranger = await identity();

describe('publishing a descriptor', () => {
  const cleanup = new Cleanup();
  let owner: Host;
  let host: Host;
  let tier: Tier;
  let allowed: boolean;
  beforeEach(async () => {
    allowed = true;
    [owner, host] = await Promise.all([
      listen((await identity()).key),
      listen((await identity()).key),
    ]);
    cleanup.add(owner);
    cleanup.add(host);
    const trust = () => ({ epoch: 1, admitters: [host.peerId] });
    tier = cleanup.add(new Tier(host, overlay.id, () => undefined, trust));
    await tier.start();
    const { records } = tier;
    const server = cleanup.add(new PublishServer({ host, records, allow: () => allowed }));
    await server.start();
  });
  afterEach(() => cleanup.run());

  async function publish(
    change: Partial<ServiceDescriptor> = {},
    key = service.key,
  ): Promise<number> {
    const descriptor = descriptorOf(service.id, [host], change);
    const bytes = await seal(DESCRIPTOR, descriptor, key);
    return publishRecord(owner, nth(addresses(host), 0), DESCRIPTOR_RECORD, bytes);
  }

  it('stores it in tier 1', async () => {
    assert.equal(await publish(), 1);
    assert.equal(tier.records.latest(DESCRIPTOR_RECORD, service.id)?.value.name, 'shop');
  });

  it('P8 refuses an older one, and the newer stays', async () => {
    await publish({ sequence: 5 });
    await assert.rejects(publish({ sequence: 4 }), { code: 'ERR_RECORD_OLD' });
    assert.equal(tier.records.latest(DESCRIPTOR_RECORD, service.id)?.value.sequence, 5);
  });

  it('P8 refuses one that the service’s own key did not sign', async () => {
    await assert.rejects(publish({}, stranger.key), { code: 'ERR_ENVELOPE' });
    assert.equal(tier.records.latest(DESCRIPTOR_RECORD, service.id), undefined);
  });

  it('refuses one that does not name the super-peer, or whose service the operator does not allow', async () => {
    await assert.rejects(publish({ admitters: [] }), { code: 'ERR_PUBLISH_NOT_NAMED' });
    allowed = false;
    await assert.rejects(publish(), { code: 'ERR_PUBLISH_NOT_ALLOWED' });
  });

  it('P24 refuses bytes that are no descriptor', async () => {
    const bytes = Buffer.from('no descriptor');
    await assert.rejects(publishRecord(owner, nth(addresses(host), 0), DESCRIPTOR_RECORD, bytes), {
      code: 'ERR_ENVELOPE',
    });
  });

  it('says when nobody answers, and gives the caller’s own reason on abort', async () => {
    const where = nth(addresses(host), 0);
    const bytes = await seal(DESCRIPTOR, descriptorOf(service.id, [host]), service.key);
    const reason = new Error('no longer wanted');
    await assert.rejects(
      publishRecord(owner, where, DESCRIPTOR_RECORD, bytes, { signal: AbortSignal.abort(reason) }),
      reason,
    );
    await host.close();
    await assert.rejects(publishRecord(owner, where, DESCRIPTOR_RECORD, bytes), {
      code: 'ERR_PUBLISH_UNREACHABLE',
    });
  });
});
