/**
 * A member's control plane without a kernel, and two super-peers, over epochs that the owner begins meanwhile.
 *
 * ```
 *  owner ─ descriptors ─▶ super-peers ◀─ hello: refused, the newest descriptor ─ member
 *                              ▲─────────── renewal, directory, spread ────────────┘
 * ```
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { requestAdmission } from '../../../src/admission/client.ts';
import { ADMISSION_PROTOCOL } from '../../../src/admission/server.ts';
import { dialled } from '../../../src/codec/multiaddr.ts';
import { DiscoveryClient } from '../../../src/daemon/discovery-client.ts';
import { KnownSuperPeers } from '../../../src/daemon/member/super-peers.ts';
import { Renewal } from '../../../src/daemon/renewal.ts';
import { type Standing, saveStanding } from '../../../src/daemon/standing.ts';
import { TIER_2, Tier } from '../../../src/daemon/tier.ts';
import {
  NodeState,
  publishAtAll,
  revokeMember,
  SuperPeer,
  updateService,
} from '../../../src/index.ts';
import { DirectoryClient } from '../../../src/overlay/directory-client.ts';
import { createHost } from '../../../src/overlay/host.ts';
import {
  DESCRIPTOR_RECORD,
  ENDPOINT_RECORD,
  REVOCATION_RECORD,
  recordKey,
} from '../../../src/overlay/stored-kinds.ts';
import type { ServiceDescriptor } from '../../../src/records/descriptor.ts';
import type { Opened } from '../../../src/records/envelope.ts';
import { seal } from '../../../src/records/envelope.ts';
import { identity, nth } from '../overlay/harness.ts';
import { until } from './until.ts';
import { type Arranged, arrange } from './world.ts';

/** What a member is, apart from its kernel. */
interface Vm {
  readonly peerId: Ed25519PeerId;
  readonly key: Ed25519PrivateKey;
  readonly tier: Tier;
  readonly renewal: Renewal;
  readonly directory: DirectoryClient;
  standing(): Standing;
  stop(): Promise<void>;
}

describe('a member over many epochs', () => {
  let owned: AsyncDisposableStack;
  let dir: string;
  let arranged: Arranged;
  let signal: AbortSignal;
  const running = new Map<number, SuperPeer>();
  /** What the cache of each member has. */
  const cached = new Map<string, Standing>();
  let newest: Opened<ServiceDescriptor>;
  /** Seconds by which all clocks have gone on. */
  let later = 0;
  const realNow = Date.now;

  beforeEach(async () => {
    owned = new AsyncDisposableStack();
    signal = AbortSignal.timeout(110_000);
    dir = await mkdtemp(join(tmpdir(), 'icvpn-way-back-'));
    owned.defer(() => rm(dir, { recursive: true }));
    arranged = await arrange(dir, 2, signal);
    newest = arranged.service.descriptor;
    later = 0;
    Date.now = () => realNow() + later * 1000;
    running.clear();
    cached.clear();
    for (const at of [0, 1]) await start(at);
    await until('they are together in tier 1', () =>
      [...running.values()].every((each) => each.status().superPeers.length === 1),
    );
    await publish();
  });
  afterEach(async () => {
    await owned.disposeAsync();
    Date.now = realNow;
  });

  async function start(at: number): Promise<void> {
    const { stateDir, listen } = nth(arranged.places, at);
    const { overlay, service } = arranged;
    const options = {
      stateDir,
      listen: [listen],
      announce: [],
      overlay,
      log: () => {},
      signal,
    };
    const allowedServices = [service.bootstrap.serviceId];
    const superPeer = await SuperPeer.start({ ...options, allowedServices });
    running.set(at, superPeer);
    owned.defer(() => stop(at));
  }

  async function stop(at: number): Promise<void> {
    const superPeer = running.get(at);
    running.delete(at);
    await superPeer?.[Symbol.asyncDispose]();
  }

  async function publish(): Promise<void> {
    await publishAtAll(newest.value, DESCRIPTOR_RECORD, newest.bytes, { signal });
  }

  async function update(change: Partial<Parameters<typeof updateService>[0]> = {}): Promise<void> {
    const next = { dir: join(dir, 'shop'), newEpoch: true, signal, ...change };
    newest = (await updateService(next)).descriptor;
  }

  async function revoke(node: Ed25519PeerId): Promise<void> {
    const shop = join(dir, 'shop');
    const { revocations } = await revokeMember({ dir: shop, member: node, newEpoch: false });
    await publishAtAll(newest.value, REVOCATION_RECORD, revocations.bytes, { signal });
  }

  /** Admitted at the super-peer given, unless it was before. */
  async function member(name: string, at = 0): Promise<Vm> {
    const { bootstrap } = arranged.service;
    const { serviceId, secret } = bootstrap;
    await using parts = new AsyncDisposableStack();
    const stateDir = join(dir, name);
    const state = parts.use(await NodeState.open(stateDir, {}));
    const { key, cache, peerId } = state;
    const host = await createHost({ key, listen: ['/ip4/127.0.0.1/tcp/0'] });
    parts.defer(() => host.close());
    const kept = cached.get(name);
    const place = nth(bootstrap.superPeers, at);
    const obtain = async (): Promise<Standing> => {
      const stream = await host.libp2p.dialProtocol(place.multiaddr, ADMISSION_PROTOCOL);
      const self = { vmid: name, roles: [], multiaddrs: host.multiaddrs() };
      return requestAdmission(stream, { key, superPeer: place.peerId, serviceId, secret, ...self });
    };
    let standing = kept ?? (await obtain());
    await saveStanding(cache, standing);
    const tier = parts.use(
      await Tier.start({
        ...{ kind: TIER_2, host, directory: join(stateDir, 'records'), log: () => {} },
        descriptor: standing.descriptor,
        credential: () => standing.credential.bytes,
      }),
    );
    const superPeers = new KnownSuperPeers(bootstrap);
    superPeers.follow(() => tier.trust.descriptor.value);
    const reach = {
      ...{ gate: tier.gate, trust: () => tier.trust.trust() },
      superPeers: () => superPeers.all.map((each) => each.multiaddr),
    };
    const { seal } = parts.use(
      new DiscoveryClient({
        ...{ ...reach, cache, peerId, log: () => {} },
        service: () => tier.trust.descriptor.value,
        epoch: () => standing.credential.value.epoch,
      }),
    );
    const directory = new DirectoryClient({ ...reach, seal, multiaddrs: () => host.multiaddrs() });
    parts.defer(() => directory.close());
    const renewal = parts.use(
      new Renewal(standing, {
        ...{
          host,
          key,
          cache,
          serviceId,
          log: () => {},
          superPeers: () => superPeers.all,
        },
        onRenewed: (renewed) => {
          standing = renewed;
          cached.set(name, renewed);
          directory.reattach();
        },
      }),
    );
    cached.set(name, standing);
    renewal.follow(tier);
    directory.attach({ signal }).catch(() => undefined);
    const all = parts.move();
    const end = (): Promise<void> => all.disposeAsync();
    owned.defer(end);
    return { peerId, key, tier, renewal, directory, standing: () => standing, stop: end };
  }

  const isIn = (vm: Vm, epoch: number) => (): boolean =>
    vm.standing().credential.value.epoch === epoch && vm.tier.trust.trust().epoch === epoch;

  it('P36 two epochs at once: all are in the newest by themselves, and hear what follows', async () => {
    const vms = [await member('one'), await member('two', 1)];
    await update();
    await update();
    await publish();
    for (const vm of vms) await until('in epoch 3', isIn(vm, 3));
    const other = await member('three');
    await revoke(other.peerId);
    for (const { tier } of vms) await until('hears', () => tier.trust.barred(other.peerId));
  });

  it('P8 P28 takes endpoints of those that passed the gate or are listed, and of no other key', async () => {
    const [one, two] = [await member('one'), await member('two', 1)];
    const { serviceId } = arranged.service.bootstrap;
    const offer = async (peerId: Ed25519PeerId, key: Ed25519PrivateKey, sequence: number) => {
      const notAfter = Math.floor(Date.now() / 1000) + 600;
      const value = { serviceId, peerId, sequence, notAfter, multiaddrs: [], underlay: [] };
      const bytes = await seal(ENDPOINT_RECORD.record, value, key);
      return one.tier.store.accept(recordKey(ENDPOINT_RECORD, serviceId, peerId), bytes);
    };
    const made = await identity();
    const refused = { code: 'ERR_RECORD_SIGNER' };
    await assert.rejects(offer(made.id, made.key, 1), refused);
    await assert.rejects(offer(two.peerId, two.key, 1), refused);
    await one.tier.gate.admit(
      two.tier.gate.host.multiaddrs().map((each) => dialled(each, two.peerId)),
      { signal },
    );
    await offer(two.peerId, two.key, 1);
    const own = { serviceId, peerId: two.peerId, notAfter: Math.floor(Date.now() / 1000) + 600 };
    let sequence = 2;
    await until('it stores its own over the network', async () => {
      const value = { ...own, sequence: sequence++, multiaddrs: [], underlay: [] };
      return (await two.tier.records.put(ENDPOINT_RECORD, value, two.key, { signal })).replicas > 0;
    });
    await assert.rejects(offer(made.id, made.key, 1), refused);
    one.tier.list([made.id]);
    await offer(made.id, made.key, 1);
    one.tier.list([]);
    await assert.rejects(offer(made.id, made.key, 2), refused);
  });

  it('P36 a suspension over many epochs: refused, it hears the newest and renews; a revoked one does not', async () => {
    const [vm, out] = [await member('one'), await member('out')];
    for (const each of [vm, out]) await each.stop();
    await revoke(out.peerId);
    for (let i = 0; i < 4; i++) await update();
    await publish();
    // The grace of all of them is over.
    later = 301;
    for (const at of [0, 1]) {
      await stop(at);
      await start(at);
    }
    const again = await member('one');
    await until('in epoch 5', isIn(again, 5));
    await until('attached', () => again.directory.superPeer !== undefined);
    const back = await member('out');
    const refused = new Promise((resolve) => back.tier.gate.once('refused', resolve));
    await refused;
    assert.deepEqual(
      [back.standing().credential.value.epoch, back.tier.trust.trust().epoch],
      [1, 1],
    );
    await until('is told why', () => back.renewal.revoked);
  });

  it('P36 a super-peer that has missed epochs learns them from the member that it refuses', async () => {
    const vm = await member('one');
    await stop(1);
    await update();
    await update();
    await publish().catch(() => undefined);
    await until('in epoch 3', isIn(vm, 3));
    await stop(0);
    await start(1);
    const at = nth(arranged.service.bootstrap.superPeers, 1).peerId;
    await until('attached there', () => vm.directory.superPeer?.equals(at) === true);
    assert.equal(vm.standing().credential.value.epoch, 3);
  });

  it('P23 P33 P36 the members of a super-peer that is struck off renew at another one, by themselves, and keep no old secret', async () => {
    const vm = await member('one', 0);
    const { epochPsk, renewalKey } = vm.standing();
    await until('attached', () => vm.directory.superPeer !== undefined);
    const [gone, left] = arranged.service.bootstrap.superPeers.map(({ peerId }) => peerId);
    assert.ok(gone && left);
    await until('listed at the other', () => running.get(1)?.status().services[0]?.members === 1);
    await update({ remove: [gone], newEpoch: false });
    await publish();
    await until('renewed by the other', () => vm.standing().credential.signer.equals(left));
    await until('attached there', () => vm.directory.superPeer?.equals(left) === true);
    for (const each of [epochPsk, renewalKey]) assert.ok(each.every((byte) => byte === 0));
    assert.ok(vm.standing().epochPsk.some((byte) => byte !== 0));
  });
});
