/** Members of one service in this process, on loopback, wired as in the tests. */
import assert from 'node:assert/strict';
import type { Multiaddr } from '@multiformats/multiaddr';
import { createHost } from '../../src/overlay/host.ts';
import { ServiceTrust } from '../../src/overlay/service-trust.ts';
import { ENDPOINT_RECORD } from '../../src/overlay/stored-kinds.ts';
import type { ServiceDescriptor } from '../../src/records/descriptor.ts';
import type { Opened } from '../../src/records/envelope.ts';
import { CountingSeal } from '../../test/unit/overlay/counting.ts';
import {
  addresses,
  credentialFor,
  type Identity,
  identity,
  LOOPBACK,
  MemberNode,
  nth,
  trustIn,
} from '../../test/unit/overlay/harness.ts';
import { joinPatiently } from './join.ts';

/** Members started at the same time, with and without tier 2: they share one process. */
const PARALLEL = { with: 5, without: 10 };

export interface Enrolled {
  readonly node: MemberNode;
  readonly trust: ServiceTrust;
  readonly seal: CountingSeal;
}

/** A super-peer as whoever enrols members must know it. */
export interface Admitter extends Identity {
  readonly addresses: readonly Multiaddr[];
}

export class Members {
  readonly enrolled: Enrolled[] = [];
  readonly #descriptor: Opened<ServiceDescriptor>;
  readonly #admitters: readonly Admitter[];
  readonly #tier2: boolean;

  /** @param tier2 whether they join it; many nodes in one process do so slowly */
  constructor(
    descriptor: Opened<ServiceDescriptor>,
    admitters: readonly Admitter[],
    tier2: boolean,
  ) {
    this.#descriptor = descriptor;
    this.#admitters = admitters;
    this.#tier2 = tier2;
  }

  /** Admits and attaches that many. */
  async enrol(count: number): Promise<void> {
    const parallel = this.#tier2 ? PARALLEL.with : PARALLEL.without;
    for (let left = count; left > 0; left -= parallel) {
      const batch = Array.from({ length: Math.min(parallel, left) }, (_, i) => this.#enrol(i));
      this.enrolled.push(...(await Promise.all(batch)));
    }
  }

  async #enrol(index: number): Promise<Enrolled> {
    const { serviceId } = this.#descriptor.value;
    const { key, id } = await identity();
    const admitter = nth(this.#admitters, index % this.#admitters.length);
    const place = index % this.#admitters.length;
    const ipv4 = `100.64.${4 * place}.1`;
    const credential = await credentialFor(serviceId, admitter.key, id, { ipv4 });
    const own: { trust?: ServiceTrust } = {};
    const admitters = this.#admitters.map((each) => each.id);
    const trust = () => own.trust?.trust() ?? trustIn(admitters);
    const order = (): Multiaddr[][] =>
      [admitter, ...this.#admitters].map((each) => [...each.addresses]);
    const host = await createHost({ key, listen: LOOPBACK });
    const seal = new CountingSeal();
    const node = new MemberNode(host, key, serviceId, credential, trust, order, seal);
    own.trust = new ServiceTrust(node.tier2.records, this.#descriptor);
    own.trust.on('change', () => node.tier2.gate.recheck());
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
    const known = this.enrolled.slice(-3).map((each) => addresses(each.node.host));
    await joinPatiently(node.tier2.dht, known);
    const endpoint = {
      serviceId: this.#descriptor.value.serviceId,
      peerId: host.peerId,
      sequence: 1,
      notAfter: Math.floor(Date.now() / 1000) + 3600,
      multiaddrs: host.multiaddrs(),
      underlay: [],
    };
    await node.tier2.records.put(ENDPOINT_RECORD, endpoint, key);
  }
  /** Who is listed by a member and should not be, and who should be and is not: of each kind the most. */
  errors(): { ghosts: number; lost: number } {
    const there = new Set(this.enrolled.map(({ node }) => node.host.peerId.toString()));
    assert.ok(there.size > 0);
    const each = this.enrolled.map(({ node }) => {
      const listed = new Set(node.directory.members().map(({ peerId }) => peerId.toString()));
      return { ghosts: missing(listed, there), lost: missing(there, listed) };
    });
    const most = (name: 'ghosts' | 'lost'): number => Math.max(...each.map((one) => one[name]));
    return { ghosts: most('ghosts'), lost: most('lost') };
  }
}

/** How many of the first are not among the second. */
function missing(these: ReadonlySet<string>, there: ReadonlySet<string>): number {
  return [...these].filter((each) => !there.has(each)).length;
}
