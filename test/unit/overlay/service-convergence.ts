/**
 * One run of a service in a bad network: members attach to super-peers, move and leave, super-peers crash and
 * come back without their memory of them, the owner revokes members and publishes policies; meanwhile messages
 * are lost, doubled, delayed, replayed and damaged, and parts of the network are cut off.
 *
 * ```
 *   n000 … super-peers: record store, trust, membership view      the rest store records only
 *   members: attach here or there, with a session that grows; what everybody must know spreads from
 *   super-peer to super-peer, from each to its members, and from member to member
 * ```
 */
import assert from 'node:assert/strict';
import type { Ed25519PeerId } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { everybodyIn } from '../../../src/overlay/audience.ts';
import { Membership } from '../../../src/overlay/membership.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { ServiceTrust } from '../../../src/overlay/service-trust.ts';
import {
  DESCRIPTOR_RECORD,
  MEMBERSHIP_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
  recordKey,
  SPREAD_KINDS,
} from '../../../src/overlay/stored-kinds.ts';
import type { Timers } from '../../../src/overlay/timers.ts';
import type { Credential } from '../../../src/records/credential.ts';
import { DESCRIPTOR, type ServiceDescriptor } from '../../../src/records/descriptor.ts';
import { type Opened, open, seal } from '../../../src/records/envelope.ts';
import { BAD, type ConvergenceResult, range } from './convergence.ts';
import { credentialFor, nth } from './harness.ts';
import { type SimulatedNode, simulatedKey, simulateNodes } from './simulated-nodes.ts';
import { SimulatedSpread } from './simulated-spread.ts';
import { CALM, Simulation } from './simulation.ts';

/** Members that a member is connected to, and those of them that it pushes a record on to. */
const NEIGHBOURS = 12;
const FANOUT = 8;
/** Virtual milliseconds in which a policy comes to everybody who is connected. */
const PUSH_LIMIT = 5_000;

export interface ServiceRunOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly superPeers: number;
  readonly members: number;
  readonly replicas: number;
  readonly steps: number;
}

interface Site {
  readonly node: SimulatedNode;
  readonly trust: ServiceTrust;
  membership: Membership;
  spread: SimulatedSpread | undefined;
}

interface Vm {
  readonly credential: Opened<Credential>;
  session: number;
  readonly store: RecordStore;
  spread: SimulatedSpread | undefined;
  /** Where it is attached. */
  at: Site | undefined;
}

export async function convergeService(
  options: ServiceRunOptions,
): Promise<Omit<ConvergenceResult, 'messagesPerRead'>> {
  const simulation = new Simulation(options.seed);
  const began = simulation.now;
  const kinds = [DESCRIPTOR_RECORD, POLICY_RECORD, REVOCATION_RECORD, MEMBERSHIP_RECORD];
  const nodes = await simulateNodes(simulation, options.nodes, options.replicas, kinds);
  const ownerKey = await simulatedKey(-1);
  const serviceId = peerIdFromPrivateKey(ownerKey);
  assert.ok(serviceId.type === 'Ed25519');
  const clock = (): number => simulation.now;
  const descriptor = await describe(serviceId, nodes.slice(0, options.superPeers));
  const timers: Timers = {
    now: clock,
    after(ms, work) {
      let wanted = true;
      simulation.after(ms, () => wanted && work());
      return () => {
        wanted = false;
      };
    },
  };
  const sites = nodes.slice(0, options.superPeers).map((node): Site => {
    const trust = new ServiceTrust(node.records, descriptor);
    const site: Site = { node, trust, membership: view(node, trust), spread: undefined };
    trust.on('change', () => site.membership.recheck());
    return site;
  });
  const vms: Vm[] = [];
  for (let i = 0; i < options.members; i++) {
    const id = peerIdFromPrivateKey(await simulatedKey(1_000_000 + i));
    assert.ok(id.type === 'Ed25519');
    const now = Math.floor(simulation.now / 1000);
    const time = { notBefore: now, notAfter: now + 86_400, serial: new Uint8Array(16) };
    const place = i % options.superPeers;
    const { key } = nth(nodes, place);
    assert.ok(key.type === 'Ed25519');
    // An address of the super-peer's range, which is 1,024 long; that others have it too is no matter here.
    const ipv4 = `100.64.${4 * place}.1`;
    const credential = await credentialFor(serviceId, key, id, { ...time, ipv4 });
    const store = new RecordStore({ kinds: SPREAD_KINDS, clock });
    vms.push({ credential, session: 0, store, spread: undefined, at: undefined });
  }
  spreadOver();
  const revoked: Vm[] = [];
  let policy = 0;
  const background: Promise<unknown>[] = [];
  const any = <T>(list: readonly T[]): T => nth(list, simulation.pick(list.length));

  /** Behind the nodes that store records stand super-peers, then members, as they spread. */
  function spreadOver(): void {
    const ids = [...sites.map(({ node }) => node.id), ...vms.map(idOf)];
    const indices = new Map(ids.map((id, i) => [id.toString(), nodes.length + i]));
    const places = {
      indexOf: (peer: string) => indices.get(peer),
      peerAt: (index: number) => ids[index - nodes.length],
    };
    const { random } = simulation;
    const own = (
      index: number,
      store: RecordStore,
      peers: () => Ed25519PeerId[],
      fanout?: number,
    ) =>
      new SimulatedSpread({
        ...{ simulation, index: nodes.length + index, store, places, peers },
        audience: everybodyIn({ overlayId: descriptor.value.serviceId, peers }, { fanout, random }),
      });
    for (const [i, site] of sites.entries()) {
      const peers = (): Ed25519PeerId[] => [
        ...sites.filter((each) => each !== site).map(({ node }) => node.id),
        ...vms.filter(({ at }) => at === site).map(idOf),
      ];
      site.spread = own(i, site.node.store, peers);
    }
    for (const [i, vm] of vms.entries()) {
      const near = range(1, NEIGHBOURS + 1).map((step) => nth(vms, (i + step) % vms.length));
      const peers = (): Ed25519PeerId[] =>
        vm.at ? [vm.at.node.id, ...near.filter(({ at }) => at !== undefined).map(idOf)] : [];
      vm.spread = own(sites.length + i, vm.store, peers, FANOUT);
    }
  }

  const policyOf = ({ store }: Vm): number =>
    store.held(recordKey(POLICY_RECORD, descriptor.value.serviceId))?.sequence ?? 0;

  function describe(service: Ed25519PeerId, supers: readonly SimulatedNode[]) {
    const admitters = supers.map(({ id }, i) => {
      return {
        peerId: id,
        multiaddrs: [],
        range: { first: 16 * i, count: 16 },
        sealedSecrets: new Uint8Array(),
      };
    });
    const content: ServiceDescriptor = {
      ...{ serviceId: service, name: 'shop', sequence: 1, epoch: 1, credentialLifetime: 86_400 },
      epochId: undefined,
      ...{
        ipv4Prefix: { network: '100.64.0.0', length: 16 },
        attributePublicKey: undefined,
        retired: [],
      },
      admitters,
    };
    return seal(DESCRIPTOR, content, ownerKey).then((bytes) => open(DESCRIPTOR, bytes));
  }

  function view({ records, id, key }: SimulatedNode, trust: ServiceTrust): Membership {
    const own = { serviceId: descriptor.value.serviceId, superPeer: id, key, clock, timers };
    return new Membership({ ...own, records, trust: () => trust.trust() });
  }

  /** A member attaches; its old super-peer notices later that it is gone. */
  function attach(vm: Vm, at: Site): void {
    const old = vm.at;
    vm.at = at;
    vm.session = Math.max(vm.session + 1, simulation.now);
    if (at.trust.trust().revoked?.(vm.credential)) return;
    at.membership.add(vm.credential, [], vm.session);
    vm.spread?.sync(at.node.id);
    if (old && old !== at) {
      const { peerId } = vm.credential.value;
      simulation.after(
        simulation.pick(5_000),
        () => vm.at !== old && old.membership.remove(peerId),
      );
    }
  }

  function leave(vm: Vm): void {
    vm.at?.membership.remove(vm.credential.value.peerId);
    vm.at = undefined;
  }

  async function revoke(vm: Vm): Promise<void> {
    revoked.push(vm);
    leave(vm);
    const since = Math.floor(simulation.now / 1000);
    const revocations = revoked.map(({ credential }) => {
      return { peerId: credential.value.peerId, serial: undefined, since };
    });
    const list = { serviceId: descriptor.value.serviceId, issuer: descriptor.value.serviceId };
    const content = { ...list, sequence: revoked.length, revocations, tickets: [] };
    await any(nodes).records.put(REVOCATION_RECORD, content, ownerKey);
  }

  async function publish({ records }: SimulatedNode): Promise<void> {
    const document = Buffer.from('{"version":1}');
    const content = { serviceId: descriptor.value.serviceId, sequence: ++policy, document };
    await records.put(POLICY_RECORD, content, ownerKey);
  }

  /** It loses what it knew of members, not its records; its members attach elsewhere. */
  async function crash(site: Site): Promise<void> {
    const old = site.membership;
    site.membership = view(site.node, site.trust);
    background.push(site.membership.refresh());
    for (const vm of vms) if (vm.at === site) attach(vm, any(sites));
    await old.close({ signal: AbortSignal.abort() });
  }

  /** Nothing once learnt is unlearnt, and nobody is listed who is known to be out. */
  const policies = new Map<Site, number>();
  const outs = new Map<Site, number>();
  const applied = new Map<Vm, number>();
  function check(): void {
    for (const vm of vms) {
      assert.ok(policyOf(vm) >= (applied.get(vm) ?? 0), `P8: policy of ${nameOf(vm)}`);
      applied.set(vm, policyOf(vm));
    }
    for (const site of sites) {
      const { trust, membership, node } = site;
      const sequence = trust.policy?.sequence ?? 0;
      assert.ok(sequence >= (policies.get(site) ?? 0), `P8: policy of n${node.index}`);
      policies.set(site, sequence);
      const out = vms.filter(({ credential }) => trust.trust().revoked?.(credential));
      assert.ok(out.length >= (outs.get(site) ?? 0), `P8: revocations at n${node.index}`);
      outs.set(site, out.length);
      for (const { credential } of out) {
        assert.equal(membership.member(credential.value.peerId), undefined, 'P11: out and listed');
      }
    }
  }

  await simulation.explain(async () => {
    simulation.faults = BAD;
    for (let step = 0; step < options.steps; step++) {
      const dice = simulation.random();
      if (dice < 0.04) {
        const cut = simulation.pick(nodes.length);
        const all = range(0, nodes.length + sites.length + vms.length);
        const here = (index: number): boolean => index % nodes.length < cut;
        simulation.partition(
          all.filter(here),
          all.filter((index) => !here(index)),
        );
      } else if (dice < 0.12) simulation.partition();
      else if (dice < 0.15) background.push(publish(any(nodes)));
      else if (dice < 0.18 && revoked.length < vms.length / 4) background.push(revoke(any(vms)));
      else if (dice < 0.2) background.push(crash(any(sites)));
      else if (dice < 0.3) background.push(any(sites).trust.refresh());
      else if (dice < 0.35) background.push(any(sites).membership.refresh());
      else if (dice < 0.5) leave(any(vms));
      else {
        const vm = any(vms);
        if (!revoked.includes(vm)) attach(vm, any(sites));
      }
      await simulation.run(simulation.pick(500));
      if (step % 10 === 0) check();
    }
    simulation.partition();
    simulation.faults = CALM;
    await simulation.finish(Promise.all(background));
    await simulation.run(60_000);
    check();
    const connected = (): Vm[] => vms.filter(({ at }) => at !== undefined);
    const know = (when: string): void => {
      for (const vm of connected()) assert.equal(policyOf(vm), policy, `${when}: ${nameOf(vm)}`);
    };
    // Nothing arrives of a policy but at the node that publishes it; then five syncs of each, on average.
    simulation.faults = { ...CALM, drop: 1 };
    await simulation.finish(publish(any(sites).node));
    simulation.faults = CALM;
    await simulation.run(5 * 60_000);
    know('who missed a policy learns it in a sync');
    background.push(publish(any(sites).node));
    await simulation.run(PUSH_LIMIT);
    know('a policy is pushed to who is connected');

    // Two hours on: whoever holds something that was not heard of since has stored it again.
    await simulation.run(2 * 3_600_000);
    for (const { records } of nodes) await simulation.finish(records.republish());
    for (const { trust } of sites) await simulation.finish(trust.refresh());
    for (const { membership } of sites) await simulation.finish(membership.refresh());
    check();
    const there = vms.filter(({ at }) => at !== undefined).map(nameOf);
    for (const { membership, trust, node } of sites) {
      const listed = membership.members().map(({ peerId }) => peerId.toString());
      assert.deepEqual(listed.toSorted(), there.toSorted(), `members at n${node.index}`);
      assert.equal(trust.policy?.sequence ?? 0, policy, `policy at n${node.index}`);
      for (const vm of revoked) assert.ok(trust.trust().revoked?.(vm.credential), nameOf(vm));
    }
  });
  for (const { membership, trust } of sites) {
    trust.close();
    await simulation.finish(membership.close({ signal: AbortSignal.abort() }));
  }
  // Corrections that the last reads set off are under way.
  for (const { records } of nodes) await simulation.finish(records.close());
  const { delivered } = simulation;
  return { delivered, time: simulation.now - began, flow: simulation.flow() };
}

const idOf = ({ credential }: Vm): Ed25519PeerId => credential.value.peerId;
const nameOf = (vm: Vm): string => idOf(vm).toString();
