import assert from 'node:assert/strict';
import type { Stream } from '@libp2p/interface';
import { formatPrefix } from '../../../src/codec/ip.ts';
import type { Host } from '../../../src/overlay/host.ts';
import { answerQuery, sealQuery } from '../../../src/overlay/owner-query.ts';
import {
  heldRecords,
  PUBLISH_PROTOCOL,
  PublishServer,
  publishRecord,
} from '../../../src/overlay/publish.ts';
import {
  DESCRIPTOR_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
} from '../../../src/overlay/stored-kinds.ts';
import { DESCRIPTOR, type ServiceDescriptor } from '../../../src/records/descriptor.ts';
import { seal } from '../../../src/records/envelope.ts';
import { ipv6Prefix } from '../../../src/records/virtual-address.ts';
import { Attacker } from './attacker.ts';
import {
  addresses,
  Cleanup,
  descriptorOf,
  identities,
  identity,
  listen,
  nth,
  Tier,
  trustIn,
} from './harness.ts';

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
    const trust = () => trustIn([host.peerId]);
    tier = cleanup.add(new Tier(host, overlay.id, () => undefined, trust));
    await tier.start();
    const { records } = tier;
    const server = cleanup.add(
      new PublishServer({
        host,
        records,
        allow: (id) => allowed && id.equals(service.id),
        strangers: 8,
      }),
    );
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

  describe('its owner asks what is there', () => {
    const at = () => ({ peerId: host.peerId, multiaddr: nth(addresses(host), 0) });
    const held = async (key = service.key, by = owner): Promise<string[]> =>
      (await heldRecords(by, at(), key)).map(({ namespace }) => namespace);

    it('and is told what it signed', async () => {
      assert.deepEqual(await held(), []);
      await publish();
      assert.deepEqual(await held(), [DESCRIPTOR_RECORD.namespace]);
      const list = { serviceId: service.id, issuer: service.id, sequence: 1 };
      const whole = { ...list, revocations: [], tickets: [] };
      const bytes = await seal(REVOCATION_RECORD.record, whole, service.key);
      await publishRecord(owner, at().multiaddr, REVOCATION_RECORD, bytes);
      assert.deepEqual(await held(), [DESCRIPTOR_RECORD.namespace, REVOCATION_RECORD.namespace]);
      const [first] = await heldRecords(owner, at(), service.key);
      assert.deepEqual(
        Buffer.from(first?.envelope ?? []),
        Buffer.from(tier.records.latest(DESCRIPTOR_RECORD, service.id)?.bytes ?? []),
      );
    });

    it('P3 and nobody else is: a stranger with a key of its own learns nothing', async () => {
      await publish();
      assert.deepEqual(await held(stranger.key), []);
    });

    it('P7 a question counts for the node that asks and the super-peer that is asked', async () => {
      await publish();
      const ends = { serviceId: service.id, superPeer: host.peerId, asker: owner.peerId };
      const forged: [Partial<typeof ends>, typeof service.key][] = [
        [{ asker: stranger.id }, service.key],
        [{ superPeer: stranger.id }, service.key],
        [{}, stranger.key],
      ];
      const context = {
        ...{ records: tier.records, self: host.peerId, remote: owner.peerId },
        ...{ allow: () => true, signal: AbortSignal.timeout(10_000) },
      };
      assert.equal((await answerQuery(await sealQuery(service.key, ends), context)).length, 1);
      for (const [change, key] of forged) {
        const question = await sealQuery(key, { ...ends, ...change });
        await assert.rejects(answerQuery(question, context), { code: 'ERR_ENVELOPE' });
      }
    });
  });

  it('does not take a policy that routes members’ own addresses', async () => {
    await publish();
    const policy = async (subnet: string): Promise<Uint8Array> => {
      const routes = [{ gateway: 'role:gw', subnets: [subnet] }];
      const document = new TextEncoder().encode(JSON.stringify({ version: 1, routes }));
      const record = { serviceId: service.id, sequence: 1, document };
      return seal(POLICY_RECORD.record, record, service.key);
    };
    const where = nth(addresses(host), 0);
    for (const subnet of ['100.64.3.0/24', formatPrefix(ipv6Prefix(service.id))]) {
      const publishing = publishRecord(owner, where, POLICY_RECORD, await policy(subnet));
      await assert.rejects(publishing, { code: 'ERR_POLICY_ROUTE' });
    }
    assert.equal(tier.records.latest(POLICY_RECORD, service.id), undefined);
    await publishRecord(owner, where, POLICY_RECORD, await policy('10.0.0.0/8'));
  });

  it('P24 refuses bytes that are no descriptor', async () => {
    const bytes = Buffer.from('no descriptor');
    await assert.rejects(publishRecord(owner, nth(addresses(host), 0), DESCRIPTOR_RECORD, bytes), {
      code: 'ERR_ENVELOPE',
    });
  });

  /** Above what is taken from anybody. */
  async function large(): Promise<Partial<ServiceDescriptor>> {
    const [first] = descriptorOf(service.id, [host]).admitters;
    assert.ok(first);
    const others = (await identities(20)).map(({ id }) => ({ ...first, peerId: id }));
    return {
      admitters: [first, ...others].map((each, slot) => ({
        ...each,
        ...{
          range: { first: 16 * slot, count: 16 },
          sealedSecrets: new Uint8Array(4_096),
        },
      })),
    };
  }

  it('P5 takes no more than 60 KiB from a node that has not proved the owner’s key', async () => {
    const bytes = await seal(
      DESCRIPTOR,
      descriptorOf(service.id, [host], await large()),
      service.key,
    );
    assert.ok(bytes.length > 64 * 1024);
    const at = nth(addresses(host), 0);
    await assert.rejects(publishRecord(owner, at, DESCRIPTOR_RECORD, bytes), {
      code: 'ERR_PUBLISH_UNREACHABLE',
    });
    const own = cleanup.add(await listen(service.key));
    assert.equal(await publishRecord(own, at, DESCRIPTOR_RECORD, bytes), 1);
  });

  it('P28 hears an owner while silent streams of strangers take every place', async () => {
    // Four sites, of which each host opens two.
    const hosts = Array.from({ length: 8 }, (_, n) => `127.${100 + (n % 4)}.1.${1 + (n >> 2)}`);
    const open = async (address: string): Promise<Stream> => {
      const { connection } = await cleanup.add(await Attacker.at(address)).dial(addresses(host));
      return connection.newStream(PUBLISH_PROTOCOL);
    };
    const streams: Stream[] = [];
    for (const each of [...hosts, ...hosts]) streams.push(await open(each));
    assert.equal(await publish({ sequence: 2 }), 1);
    const own = cleanup.add(await listen(service.key));
    const bytes = await seal(
      DESCRIPTOR,
      descriptorOf(service.id, [host], { sequence: 3 }),
      service.key,
    );
    assert.equal(await publishRecord(own, nth(addresses(host), 0), DESCRIPTOR_RECORD, bytes), 1);
    assert.ok(
      streams.some(({ status }) => status === 'open'),
      'they had not all been ended',
    );
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
