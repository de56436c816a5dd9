/**
 * How a member keeps itself known, and knows the others: the directory, its endpoint record, a fresh credential.
 *
 * ```
 *  first start   directory ─▶ members, policy ─▶ policy in force ─▶ renewal, endpoint record, roaming
 *  restart       secure cache ─▶ members ─┐          ▲
 *                records ─▶ last policy ──┴──────────┘   the directory joins when a super-peer answers
 * ```
 */
import type { DirectoryClient } from '../../overlay/directory-client.ts';
import { lacking, missing } from '../announced.ts';
import { EndpointPublisher } from '../endpoint.ts';
import { Renewal } from '../renewal.ts';
import { Roaming } from '../roaming.ts';
import type { Roster } from '../roster.ts';
import type { Arrival } from './arrival.ts';
import { type Listing, openListing, startFromCache, startFromSuperPeer } from './listing.ts';
import type { Network } from './network.ts';
import type { MemberOptions } from './options.ts';
import { RefusedStart } from './refused-start.ts';

export interface Presence {
  readonly directory: DirectoryClient;
  readonly roster: Roster;
  readonly renewal: Renewal;
}

/**
 * Returns when this member enforces the policy and knows its peers: from a super-peer, or from its cache
 * where a run before this one left it there.
 *
 * @param onReaddressed told the address that a renewal gave instead of the one that is in use
 * @param owned ends it
 * @throws IcvpnError with what is wrong
 */
export async function becomePresent(
  options: MemberOptions,
  arrival: Arrival,
  network: Network,
  onReaddressed: (ipv4: string) => void,
  owned: AsyncDisposableStack,
): Promise<Presence> {
  const { log } = options;
  const { tier, policy, peers } = network;
  const { host, state, bootstrap, own, observed, inside } = arrival;
  const endpoint = owned.use(
    new EndpointPublisher({
      ...{ key: state.key, peerId: state.peerId, serviceId: bootstrap.serviceId },
      ...{ log, records: tier.records },
      multiaddrs: () => host.multiaddrs(),
      observed: () => observed.addresses,
    }),
  );
  const listing = await openListing(options, arrival, network, owned);
  const { directory, roster } = listing;
  await startListing(options, arrival, network, listing, owned);
  await policy.open();
  const renewal = owned.use(keepFresh(options, arrival, network, directory, onReaddressed));
  const told = endpoint.publish();
  // Without super-peers there may be nobody to tell, and dials to absent peers take their time.
  if (directory.superPeer !== undefined) await told;
  observed.on('change', () => void endpoint.publish());
  owned.use(
    new Roaming({
      ...{ host, virtual: inside, log },
      refresh: () => own.refresh(),
      reattach: () => directory.reattach(),
      publish: () => endpoint.publish(),
      rehome: () => peers.rehome(),
    }),
  );
  return { directory, roster, renewal };
}

/** @throws RevokedError when super-peers refuse this node for that */
async function startListing(
  options: MemberOptions,
  arrival: Arrival,
  network: Network,
  listing: Listing,
  owned: AsyncDisposableStack,
): Promise<void> {
  using refused = new RefusedStart(options, arrival, network.tier);
  refused.onMended(() => listing.directory.reattach());
  const signal = AbortSignal.any([options.signal, refused.signal]);
  const wish = { ...options, signal };
  try {
    if (listing.known.fromBefore) await startFromCache(wish, network, listing, owned);
    else await startFromSuperPeer(wish, network, listing);
  } finally {
    await refused.settled();
  }
}

function keepFresh(
  { subnets = [], log }: MemberOptions,
  arrival: Arrival,
  { tier, policy }: Network,
  directory: DirectoryClient,
  onReaddressed: (ipv4: string) => void,
): Renewal {
  const { ipv4 } = arrival.standing.credential.value;
  const { host, superPeers, bootstrap } = arrival;
  const { key, cache } = arrival.state;
  const renewal = new Renewal(arrival.standing, {
    ...{ host, key, cache, serviceId: bootstrap.serviceId, subnets, log },
    superPeers: () => superPeers.all,
    isLacking: (held) => lacking(held, subnets, tier.trust.policy?.document).length > 0,
    onRenewed: (renewed) => {
      arrival.standing = renewed;
      const given = renewed.credential.value.ipv4;
      if (given !== ipv4) return onReaddressed(given);
      const withdrawn = missing(renewed, subnets);
      if (withdrawn.length > 0) log('subnets-withdrawn', { subnets: withdrawn.join() });
      policy.refresh();
      directory.reattach();
    },
  });
  tier.trust.on('policy', () => renewal.look());
  // A new epoch may have been told while this member attached.
  renewal.follow(tier);
  return renewal;
}
