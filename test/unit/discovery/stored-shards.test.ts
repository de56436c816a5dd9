/**
 * ```
 *   red1 ── red2 ── blue       tier 1: each stores what any of them writes
 *   serve "red"     serves "blue"
 * ```
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Ed25519PeerId } from '@libp2p/interface';
import fc from 'fast-check';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { DiscoveryServer } from '../../../src/daemon/discovery-server.ts';
import {
  type AttributeKey,
  decodeMasterKey,
  decrypt,
  formatPolicy,
  generateKey,
  initAbe,
  policyOf,
} from '../../../src/keymgmt/abe/index.ts';
import { memberAttributes } from '../../../src/keymgmt/discovery/attributes.ts';
import { DataKeys } from '../../../src/keymgmt/discovery/data-key.ts';
import { MemberListError } from '../../../src/keymgmt/discovery/errors.ts';
import { header, sealedShard } from '../../../src/keymgmt/discovery/messages.ts';
import { openShard, sealShard } from '../../../src/keymgmt/discovery/shard-seal.ts';
import type { Trust } from '../../../src/overlay/gate.ts';
import { Membership } from '../../../src/overlay/membership.ts';
import { isOf, RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { MEMBERSHIP_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { makeAuthority, type NewAuthority } from '../../../src/owner/authority.ts';
import type { Credential } from '../../../src/records/credential.ts';
import type { Opened } from '../../../src/records/envelope.ts';
import { bucketOf, type MembershipShard, SHARD_CONTENT } from '../../../src/records/membership.ts';
import {
  Cleanup,
  credentialFor,
  type Identity,
  identities,
  identity,
  nth,
  trustIn,
  until,
} from '../overlay/harness.ts';
import { MemoryNetwork } from '../overlay/memory-network.ts';

const log = (): void => {};

interface Site extends Identity {
  readonly store: RecordStore;
  readonly records: Records;
  readonly discovery: DiscoveryServer;
  readonly membership: Membership;
}

describe('membership shards in tier 1', () => {
  const cleanup = new Cleanup();
  let red: Identity;
  let blue: Identity;
  let supers: Identity[];
  let network: MemoryNetwork;
  let authority: NewAuthority;
  let trust: Trust;
  let red1: Site;
  let red2: Site;
  let other: Site;

  before(initAbe);
  beforeEach(async () => {
    [red, blue] = await Promise.all([identity(), identity()]);
    supers = await identities(3);
    network = new MemoryNetwork();
    authority = await makeAuthority();
    trust = trustIn(supers.slice(0, 2).map(({ id }) => id));
    red1 = site(nth(supers, 0), red, authority);
    red2 = site(nth(supers, 1), red, authority);
    // Without an authority until a test gives it one: a thread takes a while to start.
    other = site(nth(supers, 2), blue, undefined);
  });
  afterEach(() => cleanup.run());

  function site(who: Identity, service: Identity, keys: NewAuthority | undefined): Site {
    const store = new RecordStore({ kinds: [MEMBERSHIP_RECORD] });
    const records = cleanup.add(new Records({ store, network: network.join(store) }));
    const discovery = new DiscoveryServer({ key: who.key, serviceId: service.id, log });
    cleanup.add({ close: () => discovery[Symbol.asyncDispose]() });
    discovery.follow(1, keys);
    const membership = cleanup.add(
      new Membership({
        ...{ records, serviceId: service.id, superPeer: who.id, key: who.key },
        ...{ trust: () => trust, seal: discovery.shards },
      }),
    );
    return { ...who, store, records, discovery, membership };
  }

  const sees = ({ membership }: Site, count: number): Promise<void> =>
    until(membership, 'change', () => membership.members().length === count);

  async function join(at: Site, count: number): Promise<Opened<Credential>[]> {
    const made: Opened<Credential>[] = [];
    for (const { id } of await identities(count)) {
      const vmid = `instance/${id.toString().slice(-8)}`;
      const credential = await credentialFor(red.id, at.key, id, { vmid });
      const place = parseTcpMultiaddr(`/dns4/${id.toString().slice(-8)}.example/tcp/4242`);
      at.membership.add(credential, [place], 1);
      made.push(credential);
    }
    return made;
  }

  /** The key that the authority gives a member. */
  const keyOf = (member: Credential): AttributeKey =>
    generateKey(decodeMasterKey(authority.masterKey), memberAttributes(member));

  function shards({ store }: Site): MembershipShard[] {
    return [...store.all(MEMBERSHIP_RECORD)].flatMap(({ entry }) =>
      entry && isOf(MEMBERSHIP_RECORD, entry) ? [entry.opened.value] : [],
    );
  }

  const wrappedKey = ({ content }: MembershipShard): Uint8Array =>
    header.decode(sealedShard.decode(content).header).wrappedKey;

  /** Every way in which a shard could show a member. */
  function traces({ value, bytes }: Opened<Credential>): Uint8Array[] {
    const { peerId, vmid, ipv4, ipv6, serial } = value;
    const texts = [vmid, peerId.toString(), ipv6, ipv4, `${peerId.toString().slice(-8)}.example`];
    const publicKey = peerId.publicKey.raw;
    return [
      ...texts.map((text) => Buffer.from(text)),
      ...[Buffer.from(Buffer.from(vmid).toString('hex')), publicKey, serial, bytes.slice(-64)],
    ];
  }

  const holds = (where: Uint8Array, what: Uint8Array): boolean =>
    Buffer.from(where).indexOf(what) >= 0;

  it('a super-peer that does not serve the service stores them, and sees none of its members in them', async () => {
    const members = await join(red1, 24);
    await sees(red2, 24);
    const held = [...other.store.all()].map(({ bytes }) => bytes);
    assert.equal(held.length, new Set(members.map(({ value }) => bucketOf(value.peerId))).size);
    const opened = await Promise.all(
      shards(other).map(({ content }) => red2.discovery.shards.open(content)),
    );
    for (const member of members) {
      for (const trace of traces(member)) assert.ok(!held.some((bytes) => holds(bytes, trace)));
      // What is looked for above is what stands inside.
      const [, , , , , , publicKey, serial, signature] = traces(member);
      for (const trace of [publicKey, serial, signature]) {
        assert.ok(opened.some((content) => content && trace && holds(content, trace)));
      }
    }
    assert.ok(other.discovery.follow(1, await makeAuthority()));
    await assert.rejects(other.discovery.shards.open(nth(shards(other), 0).content), {
      code: 'ERR_AUTHORITY',
    });
  });

  it('a member reads what a node stores that may not read it, with the key of its epoch', async () => {
    const [member] = await join(red1, 20);
    assert.ok(member);
    await sees(red2, 20);
    const key = keyOf(member.value);
    const found: string[] = [];
    for (const { content } of shards(other)) {
      const opened = await openShard(content, () => (wrapped) => decrypt(key, wrapped));
      assert.ok(opened);
      for (const each of SHARD_CONTENT.decode(opened).members) found.push(...each.multiaddrs);
    }
    assert.equal(found.length, 20);
  });

  it('one data key an epoch: a member that joins costs no attribute-based encryption', async () => {
    await join(red1, 8);
    await sees(red2, 8);
    const first = new Set(
      shards(other).map((each) => Buffer.from(wrappedKey(each)).toString('hex')),
    );
    assert.equal(first.size, 1);
    await join(red1, 8);
    await sees(red2, 16);
    const later = new Set(
      shards(other).map((each) => Buffer.from(wrappedKey(each)).toString('hex')),
    );
    assert.deepEqual(later, first);
    const ivs = shards(other).map(({ content }) =>
      Buffer.from(header.decode(sealedShard.decode(content).header).iv).toString('hex'),
    );
    assert.equal(new Set(ivs).size, ivs.length);
  });

  it('with a new epoch everything is sealed anew, and who has no key of it reads no more', async () => {
    const [revoked] = await join(red1, 6);
    assert.ok(revoked);
    await sees(red2, 6);
    const old = keyOf(revoked.value);
    assert.equal(decrypt(old, wrappedKey(nth(shards(other), 0))).length, 32);

    trust = { ...trust, epoch: 2, grace: [{ epoch: 1, until: Date.now() / 1000 + 300 }] };
    const next = await makeAuthority();
    const policy = `(ServiceID: ${red.id} and epoch: 2)`;
    const anew = until(other.store, 'record', () =>
      shards(other).every((each) => formatPolicy(policyOf(wrappedKey(each))) === policy),
    );
    for (const { discovery, membership } of [red1, red2]) {
      assert.ok(discovery.follow(2, next));
      membership.reseal();
    }
    await anew;
    for (const each of shards(other)) assert.throws(() => decrypt(old, wrappedKey(each)));
    assert.equal(red2.membership.members().length, 6);
  });

  it('a shard of an epoch to come counts as soon as its authority is known', async () => {
    const next = await makeAuthority();
    trust = { ...trust, epoch: 2, grace: [{ epoch: 1, until: Date.now() / 1000 + 300 }] };
    red1.discovery.follow(2, next);
    const stored = new Promise((resolve) => red2.store.once('record', resolve));
    await join(red1, 1);
    await stored;
    await red2.membership.refresh();
    assert.equal(red2.membership.members().length, 0);
    red2.discovery.follow(2, next);
    red2.membership.reseal();
    await sees(red2, 1);
  });

  it('a super-peer that lost its memory opens its own shard from tier 1', async () => {
    const members = await join(red1, 5);
    await sees(red2, 5);
    await red1.membership.close();
    const again = site(nth(supers, 0), red, authority);
    await again.membership.refresh();
    const names = again.membership.members().map(({ peerId }) => peerId.toString());
    assert.deepEqual(names.sort(), members.map(({ value }) => String(value.peerId)).sort());
  });

  it('P8 what is not sealed, or does not open, says nothing and wipes out nothing', async () => {
    const [member] = await join(red1, 1);
    assert.ok(member);
    await sees(red2, 1);
    const { peerId } = member.value;
    const bucket = bucketOf(peerId);
    const empty = SHARD_CONTENT.encode({ members: [], departed: [] });
    const sealed = await red1.discovery.shards.seal(empty);
    const broken = Uint8Array.from(sealed);
    broken[broken.length - 1] = (broken.at(-1) ?? 0) ^ 1;
    const write = async (content: Uint8Array, by: Identity = red1): Promise<void> => {
      const names: [Ed25519PeerId, Ed25519PeerId, string] = [red.id, red1.id, String(bucket)];
      const sequence = red1.records.nextSequence(MEMBERSHIP_RECORD, ...names);
      const shard = { serviceId: red.id, superPeer: red1.id, bucket, sequence, content };
      await red1.records.put(MEMBERSHIP_RECORD, shard, by.key);
      await red2.membership.refresh();
    };
    for (const content of [empty, broken, new Uint8Array(0), member.bytes]) {
      await write(content);
      assert.equal(red2.membership.members().length, 1);
    }
    await assert.rejects(write(sealed, other), { code: 'ERR_RECORD_SIGNER' });
    await write(sealed);
    assert.equal(red2.membership.members().length, 0);
  });

  it('a service without an authority has its shards in clear', async () => {
    for (const each of [red1, red2]) each.discovery.follow(2, undefined);
    const [member] = await join(red1, 1);
    assert.ok(member);
    await Promise.all([
      sees(red2, 1),
      until(other.store, 'record', () => shards(other).length > 0),
    ]);
    const { content } = nth(shards(other), 0);
    assert.deepEqual(SHARD_CONTENT.decode(content).members[0]?.credential, member.bytes);
  });
});

describe('a sealed membership shard', () => {
  it('P24 every changed byte and every cut of a sealed shard, and generated inputs, give typed errors', async () => {
    const { id: serviceId } = await identity();
    const content = Uint8Array.from(randomBytes(200));
    const dataKeys = new DataKeys((_, key) => Uint8Array.from(key));
    const sealed = await sealShard(content, { serviceId, epoch: 1 }, dataKeys);
    const unwrap = (epoch: number) =>
      epoch === 1 ? (key: Uint8Array) => key.slice(0, 32) : undefined;
    assert.deepEqual(await openShard(sealed, unwrap), content);
    const attempt = async (input: Uint8Array): Promise<void> => {
      // Nothing comes out: an error, or the epoch has become another one, for which there is no key.
      const opened = await openShard(input, unwrap).catch((error: unknown) => {
        assert.ok(error instanceof MemberListError, String(error));
      });
      assert.equal(opened, undefined);
    };
    for (let i = 0; i < sealed.length; i++) {
      await attempt(sealed.map((byte, at) => (at === i ? byte ^ (1 << (i % 8)) : byte)));
      await attempt(sealed.subarray(0, i));
    }
    await attempt(Uint8Array.of(...sealed, 0));
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), attempt), {
      numRuns: 2000,
    });
  });
});
