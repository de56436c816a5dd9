/**
 * ```
 *   super-peer: membership, directory, authority's thread
 *     │       │       │
 *   alice    bob    mallory      real hosts on loopback; secure caches on disk
 * ```
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ed25519PeerId } from '@libp2p/interface';
import { ATTRIBUTES_SUFFIX, requestAttributeKey } from '../../../src/daemon/attribute-protocol.ts';
import { DiscoveryClient } from '../../../src/daemon/discovery-client.ts';
import { DiscoveryServer } from '../../../src/daemon/discovery-server.ts';
import {
  AbeUnsatisfiedError,
  type AttributeKey,
  decodeAttributeKey,
  decrypt,
  formatPolicy,
  initAbe,
  policyOf,
} from '../../../src/keymgmt/abe/index.ts';
import { SecureCache } from '../../../src/keymgmt/cache/secure-cache.ts';
import { header, sealedList } from '../../../src/keymgmt/discovery/messages.ts';
import { DirectoryClient } from '../../../src/overlay/directory-client.ts';
import { DirectoryServer } from '../../../src/overlay/directory-server.ts';
import { Gate, type Trust } from '../../../src/overlay/gate.ts';
import type { Host } from '../../../src/overlay/host.ts';
import { Membership } from '../../../src/overlay/membership.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { MEMBERSHIP_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { makeAuthority, type NewAuthority } from '../../../src/owner/authority.ts';
import type { Credential } from '../../../src/records/credential.ts';
import type { Opened } from '../../../src/records/envelope.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  descriptorOf,
  type Identity,
  identity,
  listen,
  trustIn,
  until,
} from '../overlay/harness.ts';
import { MemoryNetwork } from '../overlay/memory-network.ts';

const log = (): void => {};

interface Node extends Identity {
  readonly host: Host;
  readonly gate: Gate;
  readonly dir: string;
  credential: Opened<Credential>;
}

interface Discovering {
  readonly directory: DirectoryClient;
  readonly discovery: DiscoveryClient;
  /** What came sealed. */
  readonly captured: Uint8Array[];
}

describe('discovery over libp2p', () => {
  const cleanup = new Cleanup();
  let service: Identity;
  let superPeer: Identity;
  let host: Host;
  let gate: Gate;
  let membership: Membership;
  let server: DiscoveryServer;
  let epoch: number;
  let authority: NewAuthority;
  let revoked: Ed25519PeerId[];
  const trust = (): Trust => ({
    ...trustIn([superPeer.id]),
    epoch,
    revoked: ({ value }) => revoked.some((id) => id.equals(value.peerId)),
  });

  beforeEach(async () => {
    await initAbe();
    [service, superPeer] = await Promise.all([identity(), identity()]);
    epoch = 1;
    revoked = [];
    authority = await makeAuthority();
    host = cleanup.add(await listen(superPeer.key));
    gate = new Gate(host, { overlayId: service.id, credential: () => undefined, trust });
    await gate.start();
    cleanup.add(gate);
    const store = new RecordStore({ kinds: [MEMBERSHIP_RECORD] });
    const records = cleanup.add(new Records({ store, network: new MemoryNetwork().join(store) }));
    const own = { key: superPeer.key, superPeer: superPeer.id, serviceId: service.id };
    membership = new Membership({ records, trust, ...own });
    cleanup.add({ close: () => membership.close({ signal: AbortSignal.abort() }) });
    server = new DiscoveryServer({ key: superPeer.key, serviceId: service.id, log });
    cleanup.add({ close: () => server[Symbol.asyncDispose]() });
    server.follow(epoch, authority);
    await server.serve(gate);
    const { seal } = server;
    const directory = new DirectoryServer({ gate, membership, key: superPeer.key, trust, seal });
    await directory.start();
    cleanup.add(directory);
  });
  afterEach(() => cleanup.run());

  async function node(): Promise<Node> {
    const who = await identity();
    const own = cleanup.add(await listen(who.key));
    const dir = await mkdtemp(join(tmpdir(), 'icvpn-discovery-'));
    cleanup.add({ close: () => rm(dir, { recursive: true }) });
    const credential = await credentialFor(service.id, superPeer.key, who.id, { epoch });
    const made: Node = {
      ...{ ...who, host: own, dir, credential },
      gate: new Gate(own, {
        ...{ overlayId: service.id, trust },
        credential: () => made.credential.bytes,
      }),
    };
    await made.gate.start();
    cleanup.add(made.gate);
    return made;
  }

  async function discover(member: Node): Promise<Discovering> {
    const cache = await SecureCache.open(member.dir);
    cleanup.add(cache);
    const superPeers = () => [addresses(host)];
    const discovery = new DiscoveryClient({
      ...{ gate: member.gate, cache, peerId: member.id, superPeers, trust, log },
      service: () =>
        descriptorOf(service.id, [host], { epoch, attributePublicKey: authority.publicKey }),
      epoch: () => member.credential.value.epoch,
    });
    cleanup.add({ close: () => discovery[Symbol.asyncDispose]() });
    const captured: Uint8Array[] = [];
    const seal: typeof discovery.seal = {
      open: (sealed, nonce) => {
        captured.push(sealed.slice());
        return discovery.seal.open(sealed, nonce);
      },
    };
    const multiaddrs = () => member.host.multiaddrs();
    const directory = cleanup.add(
      new DirectoryClient({ gate: member.gate, superPeers, multiaddrs, trust, seal }),
    );
    await directory.attach();
    return { directory, discovery, captured };
  }

  async function keyOf(member: Node): Promise<AttributeKey> {
    return decodeAttributeKey(await requestAttributeKey(member.gate, addresses(host)));
  }

  const wrappedKey = (sealed: Uint8Array): Uint8Array =>
    header.decode(sealedList.decode(sealed).header).wrappedKey;

  it('members find each other: the list for its recipient alone, what changes for all members of the epoch', async () => {
    const [alice, bob] = [await node(), await node()];
    const [a, b] = [await discover(alice), await discover(bob)];
    for (const { directory } of [a, b]) {
      await until(directory, 'change', () => directory.members().length === 2);
    }
    const first = a.captured[0] ?? assert.fail('nothing was captured');
    const wrapped = wrappedKey(first);
    assert.equal(
      formatPolicy(policyOf(wrapped)),
      `(PeerID: ${alice.id} and ServiceID: ${service.id})`,
    );
    assert.equal(decrypt(await keyOf(alice), wrapped).length, 32);
    const others = await keyOf(bob);
    assert.throws(() => decrypt(others, wrapped), AbeUnsatisfiedError);
    for (const { vmid } of a.directory.members()) {
      for (const each of a.captured) assert.equal(Buffer.from(each).indexOf(vmid), -1);
    }
    const later = a.captured.at(-1) ?? assert.fail();
    assert.ok(a.captured.length > 1, 'news followed the list');
    const policy = formatPolicy(policyOf(wrappedKey(later)));
    assert.equal(policy, `(ServiceID: ${service.id} and epoch: 1)`);
    assert.equal(decrypt(others, wrappedKey(later)).length, 32);
  });

  it('a key is asked for once, and kept in the secure cache', async () => {
    let asked = 0;
    const alice = await node();
    const { open } = alice.gate;
    alice.gate.open = (target, suffix, options) => {
      if (suffix === ATTRIBUTES_SUFFIX) asked++;
      return open.call(alice.gate, target, suffix, options);
    };
    const first = await discover(alice);
    await first.directory.goodbye();
    await first.discovery[Symbol.asyncDispose]();
    await discover(alice);
    assert.equal(asked, 1);
  });

  it('the key is asked for at once, not when the first list is there', async () => {
    const alice = await node();
    const cache = await SecureCache.open(alice.dir);
    cleanup.add(cache);
    await new Promise<void>((resolve) => {
      const discovery = new DiscoveryClient({
        ...{ gate: alice.gate, cache, peerId: alice.id, trust },
        superPeers: () => [addresses(host)],
        service: () =>
          descriptorOf(service.id, [host], { attributePublicKey: authority.publicKey }),
        epoch: () => 1,
        log: (event) => {
          if (event === 'attribute-key') resolve();
        },
      });
      cleanup.add({ close: () => discovery[Symbol.asyncDispose]() });
    });
    assert.ok(await cache.get('attribute-key'));
  });

  it('who is no member gets no key', async () => {
    const mallory = await node();
    const foreign = await identity();
    mallory.credential = await credentialFor(service.id, foreign.key, mallory.id);
    await assert.rejects(keyOf(mallory), { code: 'ERR_REFUSED' });
  });

  it('a member cannot have keys made without end', async () => {
    const greedy = await node();
    for (let i = 0; i < 4; i++) await keyOf(greedy);
    await assert.rejects(keyOf(greedy), { code: 'ERR_ATTRIBUTE_KEY' });
    await keyOf(await node());
  });

  it('a new epoch gives members new keys; who was revoked gets none and opens no new list', async () => {
    const [alice, bob] = [await node(), await node()];
    const [a, b] = [await discover(alice), await discover(bob)];
    const oldKey = await keyOf(bob);
    const old = wrappedKey(a.captured[0] ?? assert.fail());
    const oldAlice = await keyOf(alice);
    assert.equal(decrypt(oldAlice, old).length, 32);
    // Left alone it would be refused until its connection is cut, perhaps while the test asks over that.
    await b.directory.goodbye();

    epoch = 2;
    revoked = [bob.id];
    authority = await makeAuthority();
    server.follow(epoch, authority);
    gate.recheck();
    a.captured.length = 0;
    alice.credential = await credentialFor(service.id, superPeer.key, alice.id, { epoch });
    bob.credential = await credentialFor(service.id, superPeer.key, bob.id, { epoch });
    await until(a.directory, 'attached', () => a.captured.length > 0);
    const fresh = wrappedKey(a.captured[0] ?? assert.fail());
    assert.equal(decrypt(await keyOf(alice), fresh).length, 32);
    await assert.rejects(keyOf(bob), { code: 'ERR_REFUSED' });
    // Even for this recipient the key of the old epoch is worth nothing.
    assert.throws(() => decrypt(oldAlice, fresh), { code: 'ERR_ABE_DECRYPT' });
    assert.throws(() => decrypt(oldKey, fresh), AbeUnsatisfiedError);
  });

  it('while members move into an epoch, those of the old one are served as before, each alone', async () => {
    const alice = await node();
    const nonce = new Uint8Array(32);
    const recipients = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const { id } = await identity();
        return (await credentialFor(service.id, superPeer.key, id)).value;
      }),
    );
    const before = await keyOf(alice);
    server.follow(2, await makeAuthority());
    const old = await server.seal.seal(new Uint8Array(9), alice.credential.value, nonce);
    assert.equal(decrypt(before, wrappedKey(old)).length, 32);
    const sealed = await Promise.all(
      recipients.map((each) => server.seal.seal(new Uint8Array(9), each, nonce)),
    );
    for (const each of sealed) {
      assert.match(formatPolicy(policyOf(wrappedKey(each))), /^\(PeerID: /);
    }
    await assert.rejects(
      server.seal.sealForAll(new Uint8Array(9), { serviceId: service.id, epoch: 1 }),
      {
        code: 'ERR_NO_AUTHORITY',
      },
    );
    server.follow(3, await makeAuthority());
    await assert.rejects(server.seal.seal(new Uint8Array(9), alice.credential.value, nonce), {
      code: 'ERR_NO_AUTHORITY',
    });
  });

  it('many members that come at once share a data key under the policy of the epoch', async () => {
    const nonce = new Uint8Array(32);
    const recipients = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const { id } = await identity();
        return (await credentialFor(service.id, superPeer.key, id)).value;
      }),
    );
    const sealed = await Promise.all(
      recipients.map((each) => server.seal.seal(new Uint8Array(100), each, nonce)),
    );
    const policies = sealed.map((each) => formatPolicy(policyOf(wrappedKey(each))));
    const shared = `(ServiceID: ${service.id} and epoch: 1)`;
    assert.equal(policies.filter((each) => each === shared).length, 32);
    assert.equal(new Set(policies).size, 9);
    const member = await node();
    const key = await keyOf(member);
    const last = sealed.at(-1) ?? assert.fail();
    assert.equal(decrypt(key, wrappedKey(last)).length, 32);
  });

  it('a member of a service with an authority takes no list in clear, and no answer to another request', async () => {
    const alice = await node();
    const { discovery, captured } = await discover(alice);
    const { credential } = alice;
    await assert.rejects(discovery.seal.open(credential.bytes, new Uint8Array(32)), {
      code: 'ERR_MEMBER_LIST',
    });
    const first = captured[0] ?? assert.fail();
    await assert.rejects(discovery.seal.open(first, new Uint8Array(32)), {
      code: 'ERR_MEMBER_LIST',
      fault: 'requester',
    });
  });

  it('a service without an authority has its lists in clear', async () => {
    server.follow(2, undefined);
    const envelope = new Uint8Array([1, 2, 3]);
    const alice = await node();
    const sealed = await server.seal.seal(envelope, alice.credential.value, new Uint8Array(32));
    assert.deepEqual(sealed, envelope);
  });
});
