/** A whole service in one process, on loopback, for measuring: wired as in the tests. */
import assert from 'node:assert/strict';
import type { Multiaddr } from '@multiformats/multiaddr';
import { createHost } from '../../src/overlay/host.ts';
import { ServiceTrust } from '../../src/overlay/service-trust.ts';
import { DESCRIPTOR_RECORD, ENDPOINT_RECORD } from '../../src/overlay/stored-kinds.ts';
import { DESCRIPTOR, type ServiceDescriptor } from '../../src/records/descriptor.ts';
import { type Opened, open, seal } from '../../src/records/envelope.ts';
import { CountingSeal, countingKey } from '../../test/unit/overlay/counting.ts';
import {
  addresses,
  credentialFor,
  descriptorOf,
  type Identity,
  identities,
  identity,
  LOOPBACK,
  MemberNode,
  nth,
  SuperPeer,
} from '../../test/unit/overlay/harness.ts';

/** Members started at the same time, with and without tier 2: they share one process. */
const PARALLEL = { with: 5, without: 10 };

export interface Enrolled {
  readonly node: MemberNode;
  readonly trust: ServiceTrust;
  readonly seal: CountingSeal;
}

export class MeasuredService {
  readonly service: Identity;
  readonly supers: SuperPeer[] = [];
  readonly members: Enrolled[] = [];
  /** Of the super-peers, in all. */
  signatures = 0;
  readonly #descriptor: Opened<ServiceDescriptor>;
  readonly #tier2: boolean;

  private constructor(service: Identity, descriptor: Opened<ServiceDescriptor>, tier2: boolean) {
    this.service = service;
    this.#descriptor = descriptor;
    this.#tier2 = tier2;
  }

  /** @param tier2 whether members join it; many nodes in one process do so slowly */
  static async start(superPeers: number, members: number, tier2 = true): Promise<MeasuredService> {
    const [overlay, service] = [await identity(), await identity()];
    const keys = await identities(superPeers);
    const hosts = await Promise.all(keys.map(({ key }) => createHost({ key, listen: LOOPBACK })));
    const bytes = await seal(DESCRIPTOR, descriptorOf(service.id, hosts), service.key);
    const measured = new MeasuredService(service, await open(DESCRIPTOR, bytes), tier2);
    const admitters = keys.map(({ id }) => id);
    for (const [i, host] of hosts.entries()) {
      const fixed = () => ({ epoch: 1, admitters });
      const own: { trust?: ServiceTrust } = {};
      const trust = () => own.trust?.trust() ?? fixed();
      const node = new SuperPeer(
        host,
        countingKey(nth(keys, i).key, () => measured.signatures++),
        overlay.id,
        fixed,
        service.id,
        trust,
      );
      own.trust = measured.#follow(node);
      await node.start();
      if (i > 0) await node.tier1.dht.join([addresses(nth(hosts, 0))]);
      measured.supers.push(node);
    }
    await nth(measured.supers, 0).tier1.records.putSealed(DESCRIPTOR_RECORD, bytes);
    await measured.enrol(members);
    return measured;
  }

  /** Admits and attaches that many members. */
  async enrol(count: number): Promise<void> {
    const parallel = this.#tier2 ? PARALLEL.with : PARALLEL.without;
    for (let left = count; left > 0; left -= parallel) {
      const batch = Array.from({ length: Math.min(parallel, left) }, (_, i) => this.#enrol(i));
      this.members.push(...(await Promise.all(batch)));
    }
  }

  async #enrol(index: number): Promise<Enrolled> {
    const { key, id } = await identity();
    const superPeer = nth(this.supers, index % this.supers.length);
    const credential = await credentialFor(this.service.id, superPeer.key, id);
    const own: { trust?: ServiceTrust } = {};
    const admitters = this.supers.map(({ host }) => host.peerId);
    const trust = () => own.trust?.trust() ?? { epoch: 1, admitters };
    const order = (): Multiaddr[][] =>
      [superPeer, ...this.supers].map((each) => addresses(each.host));
    const host = await createHost({ key, listen: LOOPBACK });
    const seal = new CountingSeal();
    const node = new MemberNode(host, key, this.service.id, credential, trust, order, seal);
    own.trust = this.#follow(node);
    await node.start();
    // On a busy machine a handshake may run out of time.
    for (let tries = 5; ; tries--) {
      const failed = await node.directory.attach().catch((error: unknown) => error);
      if (failed === undefined) break;
      if (tries === 0) throw failed;
    }
    if (this.#tier2) await this.#joinTier2(node);
    return { node, trust: own.trust, seal };
  }

  async #joinTier2(node: MemberNode): Promise<void> {
    const { host, key } = node;
    const known = this.members.slice(-3).map((each) => addresses(each.node.host));
    // On a busy machine a handshake may run out of time.
    for (let tries = 5; known.length > 0 && tries > 0; tries--) {
      if ((await node.tier2.dht.join(known).catch(() => 0)) > 0) break;
    }
    const endpoint = {
      serviceId: this.service.id,
      peerId: host.peerId,
      sequence: 1,
      notAfter: Math.floor(Date.now() / 1000) + 3600,
      multiaddrs: host.multiaddrs(),
      underlay: [],
    };
    await node.tier2.records.put(ENDPOINT_RECORD, endpoint, key);
  }

  #follow(node: SuperPeer | MemberNode): ServiceTrust {
    const [tier, gate] =
      node instanceof SuperPeer ? [node.tier1, node.gate] : [node.tier2, node.tier2.gate];
    const trust = new ServiceTrust(tier.records, this.#descriptor);
    trust.on('change', () => {
      gate.recheck();
      if (node instanceof SuperPeer) node.membership.recheck();
    });
    return trust;
  }

  /** Who is listed by a member and should not be, and who should be and is not. */
  errorsOf({ node }: Enrolled): { ghosts: number; lost: number } {
    const there = new Set(this.members.map((each) => each.node.host.peerId.toString()));
    const listed = new Set(node.directory.members().map(({ peerId }) => peerId.toString()));
    assert.ok(there.size > 0);
    const missing = (from: Set<string>, other: Set<string>): number =>
      [...other].filter((name) => !from.has(name)).length;
    return { ghosts: missing(there, listed), lost: missing(listed, there) };
  }
}
