/** The super-peers of one service in this process, on loopback, for measuring: wired as in the tests. */
import { createHost } from '../../src/overlay/host.ts';
import { ServiceTrust } from '../../src/overlay/service-trust.ts';
import { DESCRIPTOR_RECORD } from '../../src/overlay/stored-kinds.ts';
import { DESCRIPTOR, type ServiceDescriptor } from '../../src/records/descriptor.ts';
import { type Opened, open, seal } from '../../src/records/envelope.ts';
import { countingKey } from '../../test/unit/overlay/counting.ts';
import {
  addresses,
  descriptorOf,
  type Identity,
  identities,
  identity,
  LOOPBACK,
  nth,
  SuperPeer,
  trustIn,
} from '../../test/unit/overlay/harness.ts';
import { type Admitter, Members } from './members.ts';

export class MeasuredService {
  readonly service: Identity;
  readonly descriptor: Opened<ServiceDescriptor>;
  readonly supers: SuperPeer[] = [];
  readonly admitters: readonly Admitter[];
  /** Of the super-peers, in all. */
  signatures = 0;

  private constructor(
    service: Identity,
    descriptor: Opened<ServiceDescriptor>,
    admitters: readonly Admitter[],
  ) {
    this.service = service;
    this.descriptor = descriptor;
    this.admitters = admitters;
  }

  static async start(superPeers: number): Promise<MeasuredService> {
    const [overlay, service] = [await identity(), await identity()];
    const keys = await identities(superPeers);
    const hosts = await Promise.all(keys.map(({ key }) => createHost({ key, listen: LOOPBACK })));
    const bytes = await seal(DESCRIPTOR, descriptorOf(service.id, hosts), service.key);
    const admitters = keys.map((each, i) => ({ ...each, addresses: addresses(nth(hosts, i)) }));
    const measured = new MeasuredService(service, await open(DESCRIPTOR, bytes), admitters);
    for (const [i, host] of hosts.entries()) {
      const fixed = () => trustIn(keys.map(({ id }) => id));
      const own: { trust?: ServiceTrust } = {};
      const trust = () => own.trust?.trust() ?? fixed();
      const key = countingKey(nth(keys, i).key, () => measured.signatures++);
      const node = new SuperPeer(host, key, overlay.id, fixed, service.id, trust);
      own.trust = new ServiceTrust(node.tier1.records, measured.descriptor);
      own.trust.on('change', () => {
        node.gate.recheck();
        node.membership.recheck();
      });
      await node.start();
      if (i > 0) await node.tier1.dht.join([addresses(nth(hosts, 0))]);
      measured.supers.push(node);
    }
    await nth(measured.supers, 0).tier1.records.putSealed(DESCRIPTOR_RECORD, bytes);
    return measured;
  }
}

/** A service with its super-peers and all of its members in this process. */
export async function serviceWith(superPeers: number, count: number, tier2 = true) {
  const service = await MeasuredService.start(superPeers);
  const members = new Members(service.descriptor, service.admitters, tier2);
  await members.enrol(count);
  return { service, members };
}
