/** What a node signs or says that is wrong in one place, and what else it costs: nothing. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { lpStream } from '@libp2p/utils';
import { parseTcpMultiaddr, type TcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import {
  bytes,
  message,
  optional,
  repeated,
  required,
  string,
  uint32,
  uint53,
} from '../../../src/codec/protobuf.ts';
import { everybodyIn } from '../../../src/overlay/audience.ts';
import { DIRECTORY_SUFFIX } from '../../../src/overlay/directory.ts';
import { Membership } from '../../../src/overlay/membership.ts';
import { RecordFiles } from '../../../src/overlay/record-files.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { SpreadRule } from '../../../src/overlay/spread-rule.ts';
import {
  DESCRIPTOR_RECORD,
  MEMBERSHIP_RECORD,
  recordKey,
  type StoredKind,
} from '../../../src/overlay/stored-kinds.ts';
import { DESCRIPTOR } from '../../../src/records/descriptor.ts';
import { DIRECTORY } from '../../../src/records/directory.ts';
import { type RecordKind, seal } from '../../../src/records/envelope.ts';
import { bucketOf } from '../../../src/records/membership.ts';
import { peerId } from '../../../src/records/peer-id.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  descriptorOf,
  identities,
  identity,
  listen,
  MemberNode,
  memberGate,
  nth,
  SuperPeer,
  trustIn,
  until,
} from './harness.ts';
import { MemoryNetwork } from './memory-network.ts';

const GOOD = parseTcpMultiaddr('/ip4/192.0.2.1/tcp/4242');
const anyAddresses = (number: number) => repeated(number, string({ max: 300 }), { max: 8 });

/** A descriptor's fields, with any text for an address. */
const anyDescriptor = message({
  serviceId: required(1, peerId()),
  name: required(2, string({ max: 63 })),
  sequence: required(3, uint53()),
  epoch: required(4, uint32()),
  ipv4Prefix: required(5, string({ max: 64 })),
  credentialLifetime: required(6, uint32()),
  admitters: repeated(
    7,
    message({
      peerId: required(1, peerId()),
      multiaddrs: anyAddresses(2),
      slot: required(3, uint32()),
      sealedSecrets: required(4, bytes({ max: 4096 })),
    }),
    { max: 64 },
  ),
  attributePublicKey: optional(8, bytes({ max: 4096 })),
});
type AnyDescriptor = ReturnType<typeof anyDescriptor.decode>;
const ANY_DESCRIPTOR: RecordKind<AnyDescriptor> = { ...DESCRIPTOR, codec: anyDescriptor };

/** As nodes had them that did not look. */
const CARELESS: StoredKind<AnyDescriptor> = {
  record: ANY_DESCRIPTOR,
  namespace: DESCRIPTOR_RECORD.namespace,
  parts: 1,
  signerPart: 0,
  names: ({ serviceId }) => [serviceId],
  signer: ({ serviceId }) => serviceId,
  service: ({ serviceId }) => serviceId,
  sequence: ({ sequence }) => sequence,
  notAfter: () => undefined,
};

const anyContent = message({
  members: repeated(
    1,
    message({
      credential: required(1, bytes({ max: 10_000 })),
      multiaddrs: anyAddresses(2),
      session: required(3, uint53()),
    }),
    { max: 512 },
  ),
  departed: repeated(2, bytes({ max: 1000 }), { max: 256 }),
});

const service = await identity();
const overlay = await identity();
const supers = await identities(2);

/** A service that somebody made up: its descriptor names an address that is none. */
async function madeUp(address: string): Promise<{ key: string; bytes: Uint8Array }> {
  const owner = await identity();
  const admitter = {
    peerId: owner.id,
    multiaddrs: [address],
    slot: 0,
    sealedSecrets: randomBytes(9),
  };
  const value = {
    ...descriptorOf(owner.id, []),
    ipv4Prefix: '100.64.0.0/16',
    admitters: [admitter],
  };
  const sealed = await seal(ANY_DESCRIPTOR, value, owner.key);
  return { key: recordKey(DESCRIPTOR_RECORD, owner.id), bytes: sealed };
}

async function honest(): Promise<{ key: string; bytes: Uint8Array }> {
  const owner = await identity();
  const sealed = await seal(DESCRIPTOR, descriptorOf(owner.id, []), owner.key);
  return { key: recordKey(DESCRIPTOR_RECORD, owner.id), bytes: sealed };
}

describe('one bad entry', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  for (const address of [
    'garbage',
    '/ip4/192.0.2.1/udp/1',
    `/ip4/192.0.2.1/tcp/1/p2p/${overlay.id}`,
  ]) {
    it(`P27 a descriptor of a made-up service with the address ${address} is kept nowhere, and ends no sync`, async () => {
      const store = new RecordStore({ kinds: [DESCRIPTOR_RECORD] });
      const audience = {
        ...everybodyIn({ overlayId: overlay.id, peers: () => [] }),
        takes: () => true,
      };
      const rule = new SpreadRule({ store, kinds: [DESCRIPTOR_RECORD], audience });
      const [bad, good] = [await madeUp(address), await honest()];
      await assert.rejects(store.accept(bad.key, bad.bytes), { code: 'ERR_ENVELOPE' });
      // The node that passes it on has not made it.
      await rule.take(bad, nth(supers, 0).id);
      await rule.take(good, nth(supers, 0).id);
      assert.deepEqual(
        [...store.all()].map(({ key }) => key),
        [good.key],
      );
      // One that forges is not listened to any more.
      const forged = { ...good, bytes: Uint8Array.from(good.bytes) };
      forged.bytes[forged.bytes.length - 1] = (forged.bytes.at(-1) ?? 0) ^ 1;
      await assert.rejects(rule.take(forged, nth(supers, 0).id), { code: 'ERR_ENVELOPE' });
    });
  }

  it('P27 a bad record that lies on disk already costs itself at the next start', async () => {
    const directory = path.join(await mkdtemp(path.join(tmpdir(), 'icvpn-bad-')), 'records');
    try {
      const before = new RecordStore({ kinds: [CARELESS] });
      const files = await RecordFiles.open(directory, before);
      const [bad, good, more] = [await madeUp('garbage'), await honest(), await honest()];
      for (const { key, bytes: each } of [good, bad, more]) await before.accept(key, each);
      await files.close();
      const after = new RecordStore({ kinds: [DESCRIPTOR_RECORD] });
      const again = await RecordFiles.open(directory, after);
      await again.close();
      assert.deepEqual([...after.all()].map(({ key }) => key).sort(), [good.key, more.key].sort());
    } finally {
      await rm(path.dirname(directory), { recursive: true });
    }
  });

  it('P27 in a shard costs neither the other members in it nor the other shards', async () => {
    const network = new MemoryNetwork();
    const trust = () => trustIn(supers.map(({ id }) => id));
    const [a, b] = supers.map(({ id, key }) => {
      const store = new RecordStore({ kinds: [MEMBERSHIP_RECORD] });
      const records = cleanup.add(new Records({ store, network: network.join(store) }));
      const own = { records, serviceId: service.id, superPeer: id, key, trust };
      return { records, key, id, membership: cleanup.add(new Membership(own)) };
    });
    assert.ok(a && b);
    const [one, two] = [await identity(), await identity()];
    const [credential, other] = [
      await credentialFor(service.id, a.key, one.id),
      await credentialFor(service.id, a.key, two.id),
    ];
    const bucket = bucketOf(one.id);
    const content = anyContent.encode({
      members: [
        { credential: randomBytes(9_000), multiaddrs: [], session: 1 },
        { credential: randomBytes(50), multiaddrs: ['garbage'], session: 1 },
        { credential: credential.bytes, multiaddrs: ['garbage', GOOD], session: 1 },
      ],
      departed: [randomBytes(20)],
    });
    const shard = { serviceId: service.id, superPeer: a.id, bucket, sequence: Date.now(), content };
    await a.records.put(MEMBERSHIP_RECORD, shard, a.key);
    await until(b.membership, 'change', () => b.membership.members().length === 1);
    assert.deepEqual(b.membership.member(one.id)?.multiaddrs, [GOOD]);
    b.membership.add(other, [GOOD], 1);
    assert.equal(b.membership.members().length, 2);
  });

  it('P27 in a directory update is left out by its reader', async () => {
    const list: { credential: Uint8Array; multiaddrs: string[] }[] = [
      { credential: randomBytes(30), multiaddrs: [GOOD, 'garbage', '/ip4/0.0.0.0/tcp/1'] },
      { credential: randomBytes(5_000), multiaddrs: [] },
      { credential: randomBytes(31), multiaddrs: ['x'.repeat(300)] },
    ];
    const any = message({
      serviceId: required(1, peerId()),
      feed: required(3, bytes({ length: 16 })),
      epoch: required(4, uint32()),
      sequence: required(5, uint53()),
      base: required(6, uint53()),
      joined: repeated(
        7,
        message({ credential: required(1, bytes({ max: 9_000 })), multiaddrs: anyAddresses(2) }),
        { max: 10 },
      ),
      part: required(10, uint32()),
      last: required(11, uint32()),
    });
    const raw = any.encode({
      ...{
        serviceId: service.id,
        feed: randomBytes(16),
        epoch: 1,
        sequence: 2,
        base: 1,
        part: 0,
        last: 1,
      },
      joined: list,
    });
    const { joined } = DIRECTORY.codec.decode(raw);
    const told: TcpMultiaddr[][] = joined.map(({ multiaddrs }) => multiaddrs);
    assert.deepEqual(told, [[GOOD], []]);
  });

  it('P27 a member that attaches with a bad address loses its own stream; others attach and see all', async () => {
    const admitter = await identity();
    const trust = () => trustIn([admitter.id]);
    const host = await listen(admitter.key);
    const superPeer = cleanup.add(
      new SuperPeer(host, admitter.key, overlay.id, trust, service.id, trust),
    );
    await superPeer.start();
    const rogue = cleanup.add(await listen((await identity()).key));
    const { gate } = await memberGate(rogue, service.id, admitter);
    cleanup.add(gate);
    const stream = await gate.open(addresses(host), DIRECTORY_SUFFIX);
    const attach = message({
      attach: required(
        1,
        message({
          nonce: required(1, bytes({ length: 32 })),
          session: required(2, uint53()),
          multiaddrs: anyAddresses(3),
        }),
      ),
    });
    const frames = lpStream(stream);
    const signal = AbortSignal.timeout(30_000);
    const own = { nonce: randomBytes(32), session: 1, multiaddrs: ['garbage'] };
    await frames.write(attach.encode({ attach: own }), { signal });
    await assert.rejects(
      frames.read({ signal }),
      (error) => !signal.aborted && error !== undefined,
    );
    assert.equal(superPeer.membership.members().length, 0);
    const members: MemberNode[] = [];
    for (const { key, id } of await identities(2)) {
      const credential = await credentialFor(service.id, admitter.key, id);
      const at = () => [addresses(host)];
      const node = new MemberNode(await listen(key), key, service.id, credential, trust, at);
      members.push(cleanup.add(node));
      await node.start();
      await node.directory.attach({ signal });
    }
    for (const { directory } of members) {
      await until(directory, 'change', () => directory.members().length === 2);
    }
  });

  it('P27 a listener of records that throws costs neither the record nor the other listeners', async () => {
    const store = new RecordStore({ kinds: [DESCRIPTOR_RECORD] });
    const records = cleanup.add(new Records({ store, network: new MemoryNetwork().join(store) }));
    const heard: string[] = [];
    records.watch(DESCRIPTOR_RECORD, () => {
      throw new Error('broken listener');
    });
    records.watch(DESCRIPTOR_RECORD, (_, key) => heard.push(key));
    const { key, bytes: envelope } = await honest();
    await store.accept(key, envelope);
    assert.deepEqual(heard, [key]);
    assert.ok(store.get(key));
  });
});
