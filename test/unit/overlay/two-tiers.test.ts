/**
 * ```
 *   SP1 ─── SP2 ─── SP3        tier 1: descriptor, membership shards
 *    │       │       │
 *   m1 m4   m2      m3         directory: attached to; tier 2: endpoints
 * ```
 */
import assert from 'node:assert/strict';
import type { Multiaddr } from '@multiformats/multiaddr';
import type { Trust } from '../../../src/overlay/gate.ts';
import { createHost } from '../../../src/overlay/host.ts';
import { DESCRIPTOR_RECORD, ENDPOINT_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { freePort } from './free-port.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  descriptorOf,
  identities,
  identity,
  listen,
  MemberNode,
  nth,
  SuperPeer,
  trustIn,
  until,
} from './harness.ts';

const overlay = await identity();
const service = await identity();

describe('two tiers: three super-peers and four members', () => {
  const cleanup = new Cleanup();
  let supers: SuperPeer[];
  let members: MemberNode[];
  /** Where the super-peers listen. */
  let places: string[];
  const trust = (): Trust => trustIn(supers.map(({ host }) => host.peerId));

  async function startSuperPeers(): Promise<void> {
    const keys = await identities(3);
    places = [];
    for (const _ of keys) places.push(`/ip4/127.0.0.1/tcp/${await freePort()}`);
    const hosts = await Promise.all(
      keys.map(({ key }, i) => createHost({ key, listen: [nth(places, i)] })),
    );
    const admitters = hosts.map(({ peerId }) => peerId);
    const fixed = (): Trust => trustIn(admitters);
    supers = hosts.map((host, i) =>
      cleanup.add(new SuperPeer(host, nth(keys, i).key, overlay.id, fixed, service.id, fixed)),
    );
    for (const each of supers) await each.start();
    for (const { tier1 } of supers.slice(1)) await tier1.dht.join([addresses(nth(hosts, 0))]);
    // Nobody told 2 and 3 of each other: kad-dht does.
  }

  async function join(first: number): Promise<MemberNode> {
    const { key, id } = await identity();
    const superPeer = nth(supers, first);
    const credential = await credentialFor(service.id, superPeer.key, id);
    superPeer.membership.add(credential, []);
    const order = (): Multiaddr[][] =>
      [...supers.slice(first), ...supers.slice(0, first)].map(({ host }) => addresses(host));
    const host = await listen(key);
    const member = cleanup.add(new MemberNode(host, key, service.id, credential, trust, order));
    await member.start();
    await member.directory.attach();
    return member;
  }

  before(async () => {
    await startSuperPeers();
  });
  after(() => cleanup.run());

  it('a descriptor stored at one super-peer is found at every other', async () => {
    const descriptor = descriptorOf(
      service.id,
      supers.map(({ host }) => host),
    );
    const { records } = nth(supers, 0).tier1;
    const { replicas } = await records.put(DESCRIPTOR_RECORD, descriptor, service.key);
    assert.ok(replicas >= 1);
    for (const { tier1 } of supers) {
      const found = await tier1.records.get(DESCRIPTOR_RECORD, [service.id]);
      assert.equal(found?.value.sequence, 1);
    }
  });

  it('members that attach to different super-peers all see one another', async () => {
    members = [await join(0), await join(1), await join(2), await join(0)];
    for (const { directory } of members) {
      await until(directory, 'change', () => directory.members().length === 4);
    }
  });

  it('tier 2: a member stores its endpoint and another one reads it', async () => {
    const [a, b, c] = members;
    assert.ok(a && b && c);
    await Promise.all([b, c].map(({ tier2 }) => tier2.dht.join([addresses(a.host)])));
    const endpoint = {
      serviceId: service.id,
      peerId: b.host.peerId,
      sequence: 1,
      notAfter: Math.floor(Date.now() / 1000) + 60,
      multiaddrs: b.host.multiaddrs(),
      underlay: ['127.0.0.1'],
    };
    await b.tier2.records.put(ENDPOINT_RECORD, endpoint, b.key);
    const found = await c.tier2.records.get(ENDPOINT_RECORD, [service.id, b.host.peerId]);
    assert.deepEqual(found?.value.underlay, ['127.0.0.1']);
  });

  it('a member that says goodbye is gone from every list', async () => {
    const leaver = nth(members, 3);
    await leaver.directory.goodbye();
    for (const { directory } of members.slice(0, 3)) {
      await until(directory, 'change', () => directory.members().length === 3);
    }
  });

  it('a member that crashes is gone from every list', async () => {
    await nth(members, 2).host.close();
    for (const { directory } of members.slice(0, 2)) {
      await until(directory, 'change', () => directory.members().length === 2);
    }
  });

  it('a member whose super-peer crashes attaches to another and stays listed', async () => {
    const [a, b] = members;
    assert.ok(a && b);
    const crashed = nth(supers, 0);
    await crashed.close();
    await until(a.directory, 'attached', () => {
      const now = a.directory.superPeer;
      return now !== undefined && !now.equals(crashed.host.peerId);
    });
    const { membership } = nth(supers, 1);
    await until(membership, 'change', () => {
      const listed = membership.member(a.host.peerId);
      return listed !== undefined && !listed.superPeer.equals(crashed.host.peerId);
    });
    assert.equal(b.directory.members().length, 2);
  });

  it('P12 with every super-peer stopped members know, find and reach one another, and attach again when one is back', async () => {
    const [a, b] = members;
    assert.ok(a && b);
    for (const each of supers) await each.close();
    await until(a.directory, 'detached', () => a.directory.superPeer === undefined);
    assert.equal(a.directory.members().length, 2);
    const serviceId = service.id;
    const { peerId } = a.host;
    const sequence = a.tier2.records.nextSequence(ENDPOINT_RECORD, serviceId, peerId);
    const notAfter = Math.floor(Date.now() / 1000) + 60;
    const moved = { serviceId, peerId, sequence, notAfter, multiaddrs: [], underlay: ['10.9.8.7'] };
    await a.tier2.records.put(ENDPOINT_RECORD, moved, a.key);
    const found = await b.tier2.records.get(ENDPOINT_RECORD, [serviceId, peerId]);
    assert.deepEqual(found?.value.underlay, ['10.9.8.7']);
    await b.host.libp2p.hangUp(peerId);
    await b.tier2.gate.admit(peerId);

    const { key } = nth(supers, 1);
    const back = await createHost({ key, listen: [nth(places, 1)] });
    const again = new SuperPeer(back, key, overlay.id, trust, service.id, trust);
    supers[1] = cleanup.add(again);
    await again.start();
    for (const { directory } of [a, b]) {
      await until(directory, 'attached', () => directory.superPeer !== undefined);
    }
    await until(again.membership, 'change', () => again.membership.members().length === 2);
    for (const { directory } of [a, b]) assert.equal(directory.members().length, 2);
  });
});
