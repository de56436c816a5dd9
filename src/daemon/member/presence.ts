/**
 * How a member keeps itself known, and knows the others: the directory, its endpoint record, a fresh credential.
 *
 * ```
 *  directory ─▶ members, policy ─▶ policy in force ─▶ renewal, endpoint record, roaming
 * ```
 */
import type { Multiaddr } from '@multiformats/multiaddr';
import { DirectoryClient } from '../../overlay/directory-client.ts';
import { lacking, missing } from '../announced.ts';
import { contacts } from '../contacts.ts';
import { DiscoveryClient } from '../discovery-client.ts';
import { EndpointPublisher } from '../endpoint.ts';
import { learnPolicy } from '../policy-news.ts';
import { Renewal } from '../renewal.ts';
import { Roaming } from '../roaming.ts';
import type { Arrival } from './arrival.ts';
import type { Network } from './network.ts';
import type { MemberOptions } from './options.ts';

export interface Presence {
  readonly directory: DirectoryClient;
  readonly renewal: Renewal;
}

/**
 * Returns when this member is attached to a super-peer, enforces the policy, and has told where it is.
 *
 * @param owned ends it
 * @throws IcvpnError with what is wrong
 */
export async function becomePresent(
  options: MemberOptions,
  arrival: Arrival,
  network: Network,
  owned: AsyncDisposableStack,
): Promise<Presence> {
  const { log, signal } = options;
  const { tier, policy, peers } = network;
  const { host, state, bootstrap, observed, inside } = arrival;
  const endpoint = owned.use(
    new EndpointPublisher({
      ...{ key: state.key, peerId: state.peerId, serviceId: bootstrap.serviceId },
      ...{ log, records: tier.records },
      multiaddrs: () => host.multiaddrs(),
      observed: () => observed.addresses,
    }),
  );
  const directory = openDirectory(options, arrival, network, owned);
  await directory.attach({ signal });
  await learnPolicy(tier, directory, { log, signal });
  await policy.open();
  const renewal = owned.use(keepFresh(options, arrival, network, directory));
  await endpoint.publish();
  observed.on('change', () => void endpoint.publish());
  owned.use(
    new Roaming({
      ...{ host, virtual: inside, log },
      reattach: () => directory.reattach(),
      publish: () => endpoint.publish(),
      rehome: () => peers.rehome(),
    }),
  );
  return { directory, renewal };
}

function openDirectory(
  { log }: MemberOptions,
  arrival: Arrival,
  { tier, policy }: Network,
  owned: AsyncDisposableStack,
): DirectoryClient {
  const { host, superPeers } = arrival;
  const { cache, peerId } = arrival.state;
  const { gate } = tier;
  const trust = () => tier.trust.trust();
  const targets = (): Multiaddr[] => superPeers.all.map((each) => each.multiaddr);
  const { seal } = owned.use(
    new DiscoveryClient({
      ...{ gate, cache, peerId, trust, log, superPeers: targets },
      service: () => tier.trust.descriptor.value,
      epoch: () => arrival.standing.credential.value.epoch,
    }),
  );
  const directory = new DirectoryClient({
    ...{ gate, trust, seal, superPeers: targets },
    multiaddrs: () => host.multiaddrs(),
  });
  owned.defer(() => directory.goodbye());
  directory.on('change', (members) => {
    tier.keep(contacts(peerId, members));
    policy.follow(members);
  });
  return directory;
}

function keepFresh(
  { subnets = [], log }: MemberOptions,
  arrival: Arrival,
  { tier, policy }: Network,
  directory: DirectoryClient,
): Renewal {
  const { host, superPeers, bootstrap } = arrival;
  const { key, cache } = arrival.state;
  const renewal = new Renewal(arrival.standing, {
    ...{ host, key, cache, serviceId: bootstrap.serviceId, subnets, log },
    superPeers: () => superPeers.all,
    isLacking: (held) => lacking(held, subnets, tier.trust.policy?.document).length > 0,
    onRenewed: (renewed) => {
      arrival.standing = renewed;
      const withdrawn = missing(renewed, subnets);
      if (withdrawn.length > 0) log('subnets-withdrawn', { subnets: withdrawn.join() });
      policy.refresh();
      directory.reattach();
    },
  });
  tier.trust.on('change', () => renewal.follow(tier.trust.trust().epoch));
  tier.trust.on('policy', () => renewal.look());
  // A new epoch may have been told while this member attached.
  renewal.follow(tier.trust.trust().epoch);
  return renewal;
}
