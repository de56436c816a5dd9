/**
 * ```
 *  owner ─ publish ─▶ SP1 ─── SP2        what everybody must know: policy, revocations, descriptor
 *                      │       │
 *                     m1       m2 ─── m3     m3 has no super-peer
 * ```
 */
import assert from 'node:assert/strict';
import type { Multiaddr } from '@multiformats/multiaddr';
import type { Trust } from '../../../src/overlay/gate.ts';
import type { Host } from '../../../src/overlay/host.ts';
import { PublishServer, publishRecord } from '../../../src/overlay/publish.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { ServiceTrust } from '../../../src/overlay/service-trust.ts';
import { SPREAD_FRAMES, spreadFrame } from '../../../src/overlay/spread-messages.ts';
import {
  DESCRIPTOR_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
  recordKey,
  SPREAD_KINDS,
  type StoredKind,
} from '../../../src/overlay/stored-kinds.ts';
import { DESCRIPTOR, type ServiceDescriptor } from '../../../src/records/descriptor.ts';
import { type Opened, open, seal } from '../../../src/records/envelope.ts';
import type { Revocation } from '../../../src/records/revocation.ts';
import { MessageStream } from '../../../src/wire/message-stream.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  descriptorOf,
  type Identity,
  identities,
  identity,
  listen,
  MemberNode,
  nth,
  SuperPeer,
  trustIn,
  until,
} from './harness.ts';
import { MemoryNetwork } from './memory-network.ts';

const overlay = await identity();
const service = await identity();

describe('what everybody must know', () => {
  const cleanup = new Cleanup();
  let owner: Host;
  let supers: SuperPeer[];
  let members: MemberNode[];
  let trusts: ServiceTrust[];
  let descriptor: Opened<ServiceDescriptor>;
  /** As the operator's descriptor of tier 1 has them. */
  let overlayTrust: Trust;

  /** A trust that follows the records of a node, and cuts off at once who is out. */
  function follow(node: SuperPeer | MemberNode): ServiceTrust {
    const tier = node instanceof SuperPeer ? node.tier1 : node.tier2;
    const gate = node instanceof SuperPeer ? node.gate : node.tier2.gate;
    const trust = cleanup.add(new ServiceTrust(tier.records, descriptor));
    trust.on('change', () => {
      gate.recheck();
      if (node instanceof SuperPeer) node.membership.recheck();
    });
    trusts.push(trust);
    return trust;
  }

  beforeEach(async () => {
    trusts = [];
    owner = cleanup.add(await listen((await identity()).key));
    const keys = await identities(2);
    const hosts = await Promise.all(keys.map(({ key }) => listen(key)));
    const bytes = await seal(DESCRIPTOR, descriptorOf(service.id, hosts), service.key);
    descriptor = await open(DESCRIPTOR, bytes);
    overlayTrust = trustIn(keys.map(({ id }) => id));
    supers = [];
    for (const [i, host] of hosts.entries()) {
      const { records } = (await serve(host, nth(keys, i))).tier1;
      await cleanup.add(new PublishServer({ host, records, allow: () => true })).start();
    }
    await nth(supers, 1).tier1.dht.join([addresses(nth(hosts, 0))]);
    await publish(DESCRIPTOR_RECORD, bytes);
    members = [];
    for (const place of [[nth(supers, 0)], [nth(supers, 1)], []]) members.push(await join(place));
    const [, two, three] = members;
    assert.ok(two && three);
    await three.tier2.dht.join([addresses(two.host)]);
  });
  afterEach(() => cleanup.run());

  async function serve(host: Host, { key }: Identity): Promise<SuperPeer> {
    const own: { trust?: ServiceTrust } = {};
    const trust = (): Trust => own.trust?.trust() ?? overlayTrust;
    const tier1 = (): Trust => overlayTrust;
    const node = cleanup.add(new SuperPeer(host, key, overlay.id, tier1, service.id, trust));
    own.trust = follow(node);
    supers.push(node);
    await node.start();
    return node;
  }

  /** @param places asked anew at each attachment */
  async function join(places: readonly SuperPeer[]): Promise<MemberNode> {
    const { key, id } = await identity();
    const credential = await credentialFor(service.id, nth(supers, 0).key, id);
    const order = (): Multiaddr[][] => places.map(({ host }) => addresses(host));
    const own: { trust?: ServiceTrust } = {};
    const trust = (): Trust => own.trust?.trust() ?? nth(trusts, 0).trust();
    const host = await listen(key);
    const member = cleanup.add(new MemberNode(host, key, service.id, credential, trust, order));
    own.trust = follow(member);
    await member.start();
    if (places.length > 0) await member.directory.attach();
    return member;
  }

  async function publish<T>(kind: StoredKind<T>, bytes: Uint8Array, at = 0): Promise<number> {
    return publishRecord(owner, nth(addresses(nth(supers, at).host), 0), kind, bytes);
  }

  const policy = (sequence: number): Promise<Uint8Array> =>
    seal(
      POLICY_RECORD.record,
      { serviceId: service.id, sequence, document: Buffer.from('{"version":1}') },
      service.key,
    );

  const revocations = (sequence: number, list: Revocation[]): Promise<Uint8Array> =>
    seal(
      REVOCATION_RECORD.record,
      { serviceId: service.id, issuer: service.id, sequence, revocations: list, tickets: [] },
      service.key,
    );

  const everybodyHas = (sequence: number): Promise<unknown> =>
    Promise.all(
      trusts.map((trust) => until(trust, 'policy', () => trust.policy?.sequence === sequence)),
    );

  it('a policy published at one super-peer reaches everybody, also who has no super-peer', async () => {
    await publish(POLICY_RECORD, await policy(1));
    await everybodyHas(1);
    await publish(POLICY_RECORD, await policy(2), 1);
    await everybodyHas(2);
  });

  it('P8 an older policy is applied nowhere again, whoever serves it', async () => {
    await publish(POLICY_RECORD, await policy(2));
    await everybodyHas(2);
    const old = await policy(1);
    await assert.rejects(publish(POLICY_RECORD, old), { code: 'ERR_RECORD_OLD' });
    const { tier2 } = nth(members, 0);
    await assert.rejects(tier2.records.putSealed(POLICY_RECORD, old), { code: 'ERR_RECORD_OLD' });
    for (const trust of trusts) assert.equal(trust.policy?.sequence, 2);
  });

  it('P22 a policy that cannot be read, or whose tests fail, is kept nowhere', async () => {
    await publish(POLICY_RECORD, await policy(1));
    await everybodyHas(1);
    const test = { from: '*', to: '*', port: 'icmp', expect: 'allow' };
    for (const [json, why] of [
      [{ version: 1, rulez: [] }, /unknown field "rulez"/],
      [{ version: 1, rules: [], tests: [test] }, /tests\[0\]: \* to \* at icmp is denied/],
    ] as const) {
      const document = Buffer.from(JSON.stringify(json));
      const content = { serviceId: service.id, sequence: 2, document };
      const bytes = await seal(POLICY_RECORD.record, content, service.key);
      const refused = { code: 'ERR_RECORD_CONTENT', message: why };
      await assert.rejects(publish(POLICY_RECORD, bytes), refused);
      const { tier2 } = nth(members, 0);
      await assert.rejects(tier2.records.putSealed(POLICY_RECORD, bytes), refused);
    }
    // Its sequence counts for nothing: the corrected one may have the same.
    await publish(POLICY_RECORD, await policy(2));
    await everybodyHas(2);
  });

  it('P12 a super-peer that the owner adds takes over when all the others crash', async () => {
    const added = await identity();
    const { admitters } = overlayTrust;
    overlayTrust = { ...overlayTrust, admitters: [...admitters, added.id] };
    const place = await listen(added.key);
    const third = await serve(place, added);
    await third.tier1.dht.join([addresses(nth(supers, 0).host)]);
    const member = await join(supers);
    const everybody = (sequence: number): Promise<unknown> =>
      Promise.all(
        trusts.map((trust) =>
          until(trust, 'change', () => trust.descriptor.value.sequence === sequence),
        ),
      );
    const describe = (sequence: number, hosts: Host[]): Promise<Uint8Array> =>
      seal(DESCRIPTOR, descriptorOf(service.id, hosts, { sequence }), service.key);
    const hosts = supers.map(({ host }) => host);
    await publish(DESCRIPTOR_RECORD, await describe(2, hosts));
    await everybody(2);

    const [first, second] = supers;
    assert.ok(first && second);
    for (const each of [first, second]) await each.close();
    const at = (): boolean => member.directory.superPeer?.equals(added.id) === true;
    await until(member.directory, 'attached', at);
    await until(third.membership, 'change', () => third.membership.members().length > 0);
  });

  it('who comes later learns it when it meets the first peer', async () => {
    await publish(POLICY_RECORD, await policy(1));
    const late = await join([nth(supers, 1)]);
    const trust = nth(trusts, -1 + trusts.length);
    await until(trust, 'policy', () => trust.policy?.sequence === 1);
    assert.ok(late);
  });

  it('P12 with every super-peer stopped members tell one another', async () => {
    await publish(POLICY_RECORD, await policy(1));
    await everybodyHas(1);
    for (const each of supers) await each.close();
    const [, two, three] = members;
    assert.ok(two && three);
    await three.tier2.records.putSealed(POLICY_RECORD, await policy(2));
    const trust = nth(trusts, 3);
    await until(trust, 'policy', () => trust.policy?.sequence === 2);
    assert.ok(two.tier2.gate.isAdmitted(three.host.peerId));
  });

  it('P11 a revoked member is cut off everywhere, gone from every list, and refused', async () => {
    const [one, two, three] = members;
    assert.ok(one && two && three);
    const id = three.host.peerId;
    const soon = AbortSignal.timeout(500);
    await three.directory.attach({ signal: soon }).catch(() => undefined);
    nth(supers, 1).membership.add(three.credential, []);
    await until(one.directory, 'change', () => one.directory.members().length === 3);
    assert.ok(two.tier2.gate.isAdmitted(id));
    const gone = new Promise((resolve) => two.tier2.gate.once('left', resolve));
    const list = [{ peerId: id, serial: undefined, since: Math.floor(Date.now() / 1000) }];
    await publish(REVOCATION_RECORD, await revocations(1, list));
    await gone;
    for (const { directory } of [one, two]) {
      await until(directory, 'change', () => directory.members().length === 2);
    }
    for (const host of [two.host, nth(supers, 0).host]) {
      await three.host.libp2p.hangUp(host.peerId);
      await assert.rejects(three.tier2.gate.admit(addresses(host)), { code: 'ERR_REFUSED' });
    }
    assert.ok(nth(trusts, 0).barred(id));
    // Bystanders notice nothing.
    assert.ok(nth(supers, 1).gate.isAdmitted(two.host.peerId));
  });

  it('P11 a member brings its super-peer no list that bars others, and nothing of another service', async () => {
    const [one, two] = members;
    assert.ok(one && two);
    const [forger, stranger] = await identities(2);
    assert.ok(forger && stranger);
    const victim = { peerId: two.host.peerId, serial: undefined, since: 1 };
    const issuer = forger.id;
    const list = { serviceId: service.id, issuer, sequence: 1, revocations: [victim], tickets: [] };
    const foreign = descriptorOf(stranger.id, [one.host]);
    const keys = [
      recordKey(REVOCATION_RECORD, service.id, issuer),
      recordKey(DESCRIPTOR_RECORD, stranger.id),
      recordKey(POLICY_RECORD, service.id),
    ];
    const records = [
      await seal(REVOCATION_RECORD.record, list, forger.key),
      await seal(DESCRIPTOR, foreign, stranger.key),
      await policy(1),
    ];
    const [{ host, tier1, gate }, trust] = [nth(supers, 0), nth(trusts, 0)];
    assert.ok(gate.isAdmitted(one.host.peerId));
    const stream = await one.tier2.gate.open(addresses(host), 'spread/1.0.0');
    const frames = new MessageStream(stream, SPREAD_FRAMES);
    for (const [i, bytes] of records.entries()) {
      await frames.write(spreadFrame({ record: { key: nth(keys, i), bytes } }), {});
    }
    await stream.close();
    // The last of them is in order.
    await until(trust, 'policy', () => trust.policy?.sequence === 1);
    const held = keys.map((key) => tier1.store.get(key) !== undefined);
    assert.deepEqual(held, [false, false, true]);
    assert.equal(trust.barred(two.host.peerId), false);
  });

  it('a list of a super-peer counts from when the descriptor names it', async () => {
    const trust = nth(trusts, 0);
    const { tier1 } = nth(supers, 0);
    const late = await identity();
    const { peerId } = nth(members, 1).host;
    const revocations = [{ peerId, serial: undefined, since: 1 }];
    const list = { serviceId: service.id, issuer: late.id, sequence: 1, revocations, tickets: [] };
    const put = () => tier1.records.put(REVOCATION_RECORD, list, late.key);
    await assert.rejects(put(), { code: 'ERR_RECORD_KEY' });
    assert.equal(trust.barred(peerId), false);
    const third = cleanup.add(await listen(late.key));
    const named = descriptorOf(service.id, [...supers.map(({ host }) => host), third]);
    const bytes = await seal(DESCRIPTOR, { ...named, sequence: 2 }, service.key);
    await publish(DESCRIPTOR_RECORD, bytes);
    await until(trust, 'change', () => trust.descriptor.value.sequence === 2);
    await put();
    assert.equal(trust.barred(peerId), true);
  });

  it('P8 of two descriptors of one sequence everybody heeds the same, whichever came first', async () => {
    const made = [1, 2].map((slot) =>
      seal(
        DESCRIPTOR,
        {
          ...descriptorOf(
            service.id,
            supers.map(({ host }) => host),
          ),
          sequence: 5,
          name: `${slot}`,
        },
        service.key,
      ),
    );
    const [x, y] = await Promise.all(made);
    assert.ok(x && y);
    const heeded: string[] = [];
    for (const order of [
      [x, y],
      [y, x],
    ]) {
      const store = new RecordStore({ kinds: SPREAD_KINDS });
      const records = cleanup.add(new Records({ store, network: new MemoryNetwork().join(store) }));
      const trust = new ServiceTrust(records, descriptor);
      const key = recordKey(DESCRIPTOR_RECORD, service.id);
      for (const bytes of order) await store.accept(key, bytes).catch(() => undefined);
      heeded.push(trust.descriptor.value.name);
      trust.close();
    }
    assert.equal(heeded[0], heeded[1]);
  });

  it('refuses a policy or a revocation list that the owner did not sign', async () => {
    const { key } = await identity();
    const forged = { serviceId: service.id, sequence: 9, document: Buffer.from('evil') };
    const bytes = await seal(POLICY_RECORD.record, forged, key);
    await assert.rejects(publish(POLICY_RECORD, bytes), { code: 'ERR_ENVELOPE' });
    const { records } = nth(members, 0).tier2;
    await assert.rejects(records.putSealed(POLICY_RECORD, bytes), { code: 'ERR_RECORD_SIGNER' });
  });
});
