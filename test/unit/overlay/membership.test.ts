import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { publicKeyFromRaw } from '@libp2p/crypto/keys';
import type { Ed25519PeerId } from '@libp2p/interface';
import { peerIdFromPublicKey } from '@libp2p/peer-id';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import type { Trust } from '../../../src/overlay/gate.ts';
import { Membership } from '../../../src/overlay/membership.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { type ShardSeal, UNSEALED } from '../../../src/overlay/shard-seal.ts';
import { MEMBERSHIP_RECORD } from '../../../src/overlay/stored-kinds.ts';
import type { Credential } from '../../../src/records/credential.ts';
import { bucketOf, MAX_BUCKET_MEMBERS, SHARD_CONTENT } from '../../../src/records/membership.ts';
import {
  Cleanup,
  credentialFor,
  type Identity,
  identities,
  identity,
  nth,
  trustIn,
  until,
} from './harness.ts';
import { MemoryNetwork } from './memory-network.ts';

const service = await identity();
const supers = await identities(3);
const stranger = await identity();
const at = (index: number): Identity => nth(supers, index);

interface Site {
  readonly who: Identity;
  readonly store: RecordStore;
  readonly records: Records;
  readonly membership: Membership;
}

/** Members that share a bucket, without keys of their own. */
function inOneBucket(count: number): Ed25519PeerId[] {
  const members: Ed25519PeerId[] = [];
  while (members.length < count) {
    const id = peerIdFromPublicKey(publicKeyFromRaw(randomBytes(32)));
    if (id.type === 'Ed25519' && bucketOf(id) === 0) members.push(id);
  }
  return members;
}

/** A DNS name of 239 characters. */
const LABELS = Array(4).fill('x'.repeat(59)).join('.');

describe('membership', () => {
  const cleanup = new Cleanup();
  let trust: Trust;
  let start: number;
  let ahead: number;
  beforeEach(() => {
    trust = trustIn(supers.map(({ id }) => id));
    start = Date.now();
    ahead = 0;
  });
  afterEach(() => cleanup.run());

  function site(
    network: MemoryNetwork,
    who: Identity,
    store?: RecordStore,
    seal: ShardSeal = UNSEALED,
  ): Site {
    const clock = (): number => start + ahead;
    const own = store ?? new RecordStore({ kinds: [MEMBERSHIP_RECORD] });
    const records = cleanup.add(new Records({ store: own, network: network.join(own), clock }));
    const options = { records, serviceId: service.id, superPeer: who.id, key: who.key, clock };
    const membership = cleanup.add(new Membership({ ...options, seal, trust: () => trust }));
    return { who, store: own, records, membership };
  }

  const sites = (network: MemoryNetwork): Site[] => supers.map((who) => site(network, who));
  const names = ({ membership }: Site): string[] =>
    membership.members().map(({ peerId }) => peerId.toString());
  const buckets = ({ membership }: Site): number =>
    new Set(membership.members().map(({ peerId }) => bucketOf(peerId))).size;
  const sees = (where: Site, count: number): Promise<void> =>
    until(where.membership, 'change', () => where.membership.members().length === count);

  it('everybody sees who was admitted anywhere, also at the same moment', async () => {
    const all = sites(new MemoryNetwork());
    const members = await identities(12);
    for (const [i, { id }] of members.entries()) {
      const { who, membership } = nth(all, i % 3);
      membership.add(await credentialFor(service.id, who.key, id), [
        parseTcpMultiaddr(`/ip4/10.0.0.${i}/tcp/1`),
      ]);
    }
    for (const each of all) await sees(each, 12);
    const seen = nth(all, 0).membership.member(nth(members, 1).id);
    assert.deepEqual(seen?.multiaddrs, ['/ip4/10.0.0.1/tcp/1']);
    assert.ok(seen?.superPeer.equals(at(1).id));
  });

  it('who left is gone everywhere', async () => {
    const [a, b] = sites(new MemoryNetwork());
    assert.ok(a && b);
    const { id } = await identity();
    a.membership.add(await credentialFor(service.id, a.who.key, id), []);
    await sees(b, 1);
    a.membership.remove(id);
    await sees(b, 0);
  });

  it('a super-peer that starts later reads all shards', async () => {
    const network = new MemoryNetwork();
    const a = site(network, at(0));
    a.membership.add(await credentialFor(service.id, a.who.key, stranger.id), []);
    await a.membership.close();
    const late = site(network, at(1));
    assert.equal(late.membership.members().length, 0);
    await late.membership.refresh();
    assert.deepEqual(names(late), [stranger.id.toString()]);
  });

  it('a super-peer that restarts without its memory takes over its shard, and waits for its members', async () => {
    const network = new MemoryNetwork();
    const [a, b] = [site(network, at(0)), site(network, at(1))];
    const members = await identities(30);
    for (const { id } of members) {
      a.membership.add(await credentialFor(service.id, a.who.key, id), [], 1);
    }
    await sees(b, 30);
    await a.membership.close();
    const again = site(network, at(0));
    const comer = await identity();
    // It admits before it has read anything: that must not wipe out the others in the bucket.
    again.membership.add(await credentialFor(service.id, at(0).key, comer.id), [], 5);
    await sees(b, 31);
    await again.membership.refresh();
    await sees(again, 31);
    const [kept] = members;
    assert.ok(kept);
    again.membership.add(await credentialFor(service.id, at(0).key, kept.id), [], 6);
    ahead = 31_000;
    again.membership.recheck();
    assert.deepEqual(names(again).toSorted(), [kept.id, comer.id].map(String).toSorted());
    await sees(b, 2);
  });

  it('a super-peer that restarts writes no bucket again before it has opened what stands there', async () => {
    const network = new MemoryNetwork();
    const [a, b] = [site(network, at(0)), site(network, at(1))];
    const [old, comer] = inOneBucket(2);
    assert.ok(old && comer);
    a.membership.add(await credentialFor(service.id, a.who.key, old), [], 1);
    await sees(b, 1);
    await a.membership.close();
    const opened = Promise.withResolvers<void>();
    const slow: ShardSeal = {
      seal: UNSEALED.seal,
      open: (content) => opened.promise.then(() => content),
    };
    const counts: number[] = [];
    b.membership.on('change', () => counts.push(b.membership.members().length));
    const again = site(network, at(0), undefined, slow);
    void again.membership.refresh();
    await until(again.store, 'record', () => again.store.size > 0);
    again.membership.add(await credentialFor(service.id, at(0).key, comer), [], 5);
    // Longer than a bucket waits for further changes.
    await delay(500);
    opened.resolve();
    await sees(b, 2);
    assert.deepEqual(counts, [2], 'nobody was gone meanwhile');
  });

  it('a member whose clock was ahead is listed where it has moved to, and gone when it leaves', async () => {
    const [a, b, c] = sites(new MemoryNetwork());
    assert.ok(a && b && c);
    const credential = await credentialFor(service.id, a.who.key, stranger.id);
    a.membership.add(credential, [], start + 3_600_000);
    await sees(b, 1);
    // It corrects its clock and attaches elsewhere; its first super-peer notices later.
    b.membership.add(credential, [], start);
    a.membership.remove(stranger.id);
    const movedTo = () => c.membership.member(stranger.id)?.superPeer.equals(b.who.id) === true;
    await until(c.membership, 'change', movedTo);
    for (const each of [a, b, c]) await sees(each, 1);
    b.membership.remove(stranger.id);
    for (const each of [a, b, c]) await sees(each, 0);
  });

  it('P27 a number that is too high makes no shard unwritable, and counts as made now', async () => {
    const [a, b] = sites(new MemoryNetwork());
    assert.ok(a && b);
    const [rogue, other] = await identities(2);
    assert.ok(rogue && other);
    const credential = await credentialFor(service.id, a.who.key, rogue.id);
    for (let i = 0; i < 2; i++) a.membership.add(credential, [], Number.MAX_SAFE_INTEGER);
    await sees(b, 1);
    // Others in its bucket are written all the same, also after it has left.
    a.membership.remove(rogue.id);
    await sees(b, 0);
    ahead = 1;
    a.membership.add(credential, [], Number.MAX_SAFE_INTEGER);
    await sees(b, 1);
    a.membership.add(await credentialFor(service.id, a.who.key, other.id), [], start);
    await sees(b, 2);
    // It moves like everybody else, whatever its number was.
    ahead = 10_000;
    b.membership.add(credential, [], start + ahead);
    const there = () => a.membership.member(rogue.id)?.superPeer.equals(b.who.id) === true;
    await until(a.membership, 'change', there);
  });

  for (const [what, number] of [
    ['a number above all clocks', Number.MAX_SAFE_INTEGER],
    ['the time', 0],
  ] as const) {
    it(`P27 a super-peer’s word, with ${what}, that another one’s member has departed delists it nowhere`, async () => {
      const network = new MemoryNetwork();
      const [a, c] = [site(network, at(0)), site(network, at(2))];
      const { id } = await identity();
      a.membership.add(await credentialFor(service.id, a.who.key, id), [], start);
      await sees(c, 1);
      const rogue = at(1);
      const store = new RecordStore({ kinds: [MEMBERSHIP_RECORD] });
      const records = cleanup.add(new Records({ store, network: network.join(store) }));
      for (let i = 1; i <= 3; i++) {
        ahead = i * 1_000;
        const departed = [{ peerId: id, session: number || start + ahead }];
        const content = SHARD_CONTENT.encode({ members: [], departed });
        const names = { serviceId: service.id, superPeer: rogue.id, bucket: bucketOf(id) };
        const shard = { ...names, sequence: start + i, content };
        await records.put(MEMBERSHIP_RECORD, shard, rogue.key);
        ahead = i * 1_000 + 500;
        for (const each of [a, c]) await each.membership.refresh();
        await sees(c, 1);
        await sees(a, 1);
      }
      // The truth, when it really leaves, is told by its own super-peer.
      ahead = 10_000;
      a.membership.remove(id);
      await sees(c, 0);
    });
  }

  it('a super-peer that restarts with its records sees the shards that nobody has written again', async () => {
    const network = new MemoryNetwork();
    const a = site(network, at(0));
    const store = new RecordStore({ kinds: [MEMBERSHIP_RECORD] });
    network.join(store);
    for (const { id } of await identities(30)) {
      a.membership.add(await credentialFor(service.id, a.who.key, id), [], 1);
    }
    await until(store, 'record', () => [...store.all()].length === buckets(a));
    const again = site(network, at(1), store);
    // A single bucket is news; the others are there since before.
    a.membership.add(await credentialFor(service.id, a.who.key, stranger.id), [], 1);
    await until(again.membership, 'change', () => again.membership.members().length > 0);
    again.membership.recheck();
    await sees(again, 31);
  });

  it('who is admitted and never attaches is gone after 30 s', async () => {
    const [a, b] = sites(new MemoryNetwork());
    assert.ok(a && b);
    a.membership.add(await credentialFor(service.id, a.who.key, stranger.id), []);
    await sees(b, 1);
    ahead = 29_999;
    a.membership.recheck();
    assert.equal(a.membership.members().length, 1);
    ahead = 31_000;
    a.membership.recheck();
    await sees(b, 0);
  });

  it('a shard that comes before the descriptor that names its super-peer counts from then on', async () => {
    const network = new MemoryNetwork();
    const [a, b] = [site(network, at(0)), site(network, at(1))];
    const both = trust;
    trust = trustIn([at(1).id]);
    a.membership.add(await credentialFor(service.id, a.who.key, stranger.id), [], 1);
    const arrived = new Promise((resolve) => b.store.once('record', resolve));
    await arrived;
    trust = both;
    b.membership.recheck();
    await sees(b, 1);
  });

  it('a member that moves is where it attached last, and its old super-peer cannot lose it', async () => {
    const [a, b, c] = sites(new MemoryNetwork());
    assert.ok(a && b && c);
    const { id } = await identity();
    const credential = await credentialFor(service.id, a.who.key, id);
    a.membership.add(credential, [], 1);
    await sees(c, 1);
    b.membership.add(credential, [], 2);
    await until(c.membership, 'change', () =>
      Boolean(c.membership.member(id)?.superPeer.equals(b.who.id)),
    );
    // The old one notices late that the member is gone from it.
    a.membership.remove(id);
    const { id: marker } = await identity();
    a.membership.add(await credentialFor(service.id, a.who.key, marker), []);
    await until(c.membership, 'change', () => c.membership.member(marker) !== undefined);
    assert.ok(c.membership.member(id)?.superPeer.equals(b.who.id));
    // And the old one's entry does not bring back who left at the new one.
    b.membership.remove(id);
    await until(c.membership, 'change', () => c.membership.member(id) === undefined);
  });

  it('P8 entries that no named super-peer signed, or in another’s shard, count for nothing', async () => {
    const network = new MemoryNetwork();
    const [a, b] = [site(network, at(0)), site(network, at(1))];
    const [good, forged, expired] = await identities(3);
    assert.ok(good && forged && expired);
    const foreign = site(network, stranger);
    foreign.membership.add(await credentialFor(service.id, stranger.key, forged.id), []);
    b.membership.add(await credentialFor(service.id, stranger.key, forged.id), []);
    const past = { notBefore: 1, notAfter: 2 };
    b.membership.add(await credentialFor(service.id, at(1).key, expired.id, past), []);
    b.membership.add(await credentialFor(service.id, at(1).key, good.id), []);
    await sees(a, 1);
    await a.membership.refresh();
    assert.deepEqual(names(a), [good.id.toString()]);
    // A shard in one super-peer's name that another one signed does not even get into a store.
    const shard = {
      serviceId: service.id,
      superPeer: at(0).id,
      bucket: 0,
      sequence: 1,
      content: new Uint8Array(0),
    };
    await assert.rejects(b.records.put(MEMBERSHIP_RECORD, shard, at(1).key), {
      code: 'ERR_RECORD_SIGNER',
    });
  });

  it('a super-peer that the owner strikes off loses its members, and expiry and epoch count', async () => {
    const [a, b] = sites(new MemoryNetwork());
    assert.ok(a && b);
    const [one, two] = await identities(2);
    assert.ok(one && two);
    a.membership.add(await credentialFor(service.id, a.who.key, one.id), []);
    b.membership.add(await credentialFor(service.id, b.who.key, two.id), []);
    await sees(b, 2);
    trust = trustIn([at(1).id]);
    b.membership.recheck();
    assert.deepEqual(names(b), [two.id.toString()]);
    ahead = 3_600_000 + 121_000;
    b.membership.recheck();
    assert.deepEqual(names(b), []);
  });

  it('what one joining member costs does not grow with their number', async () => {
    const network = new MemoryNetwork();
    const [a, b] = [site(network, at(0)), site(network, at(1))];
    const members = await identities(200);
    const sizes: number[] = [];
    b.store.on('record', ({ opened }) => sizes.push(opened.bytes.length));
    for (const { id } of members) {
      a.membership.add(await credentialFor(service.id, a.who.key, id), []);
    }
    await sees(b, 200);
    sizes.length = 0;
    const { id } = await identity();
    a.membership.add(await credentialFor(service.id, a.who.key, id), []);
    await sees(b, 201);
    const inBucket = members.filter((each) => bucketOf(each.id) === bucketOf(id)).length;
    assert.equal(sizes.length, 1);
    assert.ok(nth(sizes, 0) < 600 * (inBucket + 2), `${sizes} bytes for ${inBucket} members`);
  });

  it('a full bucket whose addresses do not fit into a record is written with fewer of each member', async () => {
    const network = new MemoryNetwork();
    const [a, b] = [site(network, at(0)), site(network, at(1))];
    const members = inOneBucket(MAX_BUCKET_MEMBERS + 1);
    const [more] = members.splice(MAX_BUCKET_MEMBERS);
    assert.ok(more);
    const given = Array.from({ length: 8 }, (_, i) =>
      parseTcpMultiaddr(`/dns6/${LABELS}/tcp/${i + 1}`),
    );
    const add = async (id: Ed25519PeerId, change?: Partial<Credential>): Promise<void> =>
      a.membership.add(await credentialFor(service.id, a.who.key, id, change), given, 1);
    for (const id of members) await add(id);
    await sees(b, MAX_BUCKET_MEMBERS);
    const counts = new Set(b.membership.members().map(({ multiaddrs }) => multiaddrs.length));
    assert.equal(counts.size, 1, `${[...counts]}`);
    assert.deepEqual(b.membership.members()[0]?.multiaddrs, given.slice(0, [...counts][0]));
    assert.ok(!counts.has(0) && !counts.has(8), `${[...counts]}`);
    await assert.rejects(add(more), { code: 'ERR_SHARD_FULL' });
  });

  it('a member whose credential the bucket’s record has no room for is refused', async () => {
    const network = new MemoryNetwork();
    const [a, b] = [site(network, at(0)), site(network, at(1))];
    const roles = Array.from({ length: 16 }, (_, i) => `${i}`.padEnd(64, 'r'));
    const subnets = Array.from(
      { length: 16 },
      (_, i) => `fd00:1111:2222:3333:4444:5555:6666:${1000 + i}/128`,
    );
    const long: Partial<Credential> = { vmid: 'v'.repeat(128), roles, subnets };
    let kept = 0;
    for (const id of inOneBucket(MAX_BUCKET_MEMBERS)) {
      const credential = await credentialFor(service.id, a.who.key, id, long);
      const add = (): void =>
        a.membership.add(credential, [parseTcpMultiaddr('/ip4/10.0.0.1/tcp/1')], 1);
      try {
        add();
        kept++;
      } catch {
        assert.throws(add, { code: 'ERR_SHARD_FULL' });
      }
    }
    assert.ok(kept > 100 && kept < MAX_BUCKET_MEMBERS, `${kept} kept`);
    await sees(b, kept);
  });

  it('tells that a shard could not be written, and writes it in the end', async () => {
    const network = new MemoryNetwork();
    const store = new RecordStore({ kinds: [MEMBERSHIP_RECORD] });
    const [a, b] = [site(network, at(0), store), site(network, at(1))];
    const { id } = await identity();
    const accept = store.accept.bind(store);
    store.accept = () => Promise.reject(new Error('disk full'));
    const delayed = new Promise((resolve) => a.membership.once('delayed', resolve));
    a.membership.add(await credentialFor(service.id, a.who.key, id), []);
    await delayed;
    store.accept = accept;
    await sees(b, 1);
  });
});
