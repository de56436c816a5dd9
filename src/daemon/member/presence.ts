/**
 * How a member keeps itself known, and knows the others: the directory, its endpoint record, a fresh credential.
 *
 * ```
 *  first start   directory ─▶ members, policy ─▶ policy in force ─▶ renewal, endpoint record, roaming
 *  restart       secure cache ─▶ members ─┐          ▲
 *                records ─▶ last policy ──┴──────────┘   the directory joins when a super-peer answers
 * ```
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Multiaddr } from '@multiformats/multiaddr';
import { DirectoryClient } from '../../overlay/directory-client.ts';
import { lacking, missing } from '../announced.ts';
import { contacts } from '../contacts.ts';
import { DiscoveryClient } from '../discovery-client.ts';
import { EndpointPublisher } from '../endpoint.ts';
import { PATIENCE_MS } from '../patience.ts';
import { learnPolicy } from '../policy-news.ts';
import { Renewal } from '../renewal.ts';
import { Roaming } from '../roaming.ts';
import type { Arrival } from './arrival.ts';
import { KnownMembers } from './known-members.ts';
import type { Network } from './network.ts';
import type { MemberOptions } from './options.ts';

/** Milliseconds in which a super-peer that answers tells its news before peers from the cache count. */
const FIRST_NEWS_MS = 1_500;

export interface Presence {
  readonly directory: DirectoryClient;
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
  const known = owned.use(
    await KnownMembers.open({
      ...{ cache: state.cache, log },
      context: {
        ...{ self: state.peerId, serviceId: bootstrap.serviceId, clock: Date.now },
        trust: () => tier.trust.trust(),
      },
    }),
  );
  const restarts = known.fromBefore;
  const directory = openDirectory(options, arrival, network, known, owned);
  if (restarts) await startFromCache(options, arrival, network, { directory, known }, owned);
  else {
    const patience = AbortSignal.timeout(options.patience ?? PATIENCE_MS);
    await directory.attach({ signal: AbortSignal.any([signal, patience]) });
    await learnPolicy(tier, directory, { log, signal });
    known.confirm();
  }
  await policy.open();
  const renewal = owned.use(keepFresh(options, arrival, network, directory, onReaddressed));
  const told = endpoint.publish();
  // Without super-peers there may be nobody to tell, and dials to absent peers take their time.
  if (!restarts) await told;
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
  { tier, policy, addresses }: Network,
  known: KnownMembers,
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
    known: known.all(),
  });
  owned.defer(() => directory.goodbye());
  directory.on('change', (members) => {
    known.follow(members);
    tier.keep(contacts(peerId, members));
    policy.follow(addresses.settle(members));
  });
  let told: string | undefined;
  directory.on('attached', (superPeer) => {
    told = undefined;
    log('attached', { superPeer });
  });
  directory.on('round', () => {
    const why = directory.problem ?? 'no answer';
    if (why !== told) log('attach-failed', { why });
    told = why;
  });
  return directory;
}

/** A super-peer that answers at once is heard first. When none does, what the cache has is in force. */
async function startFromCache(
  { log, signal }: MemberOptions,
  { state: { peerId } }: Arrival,
  { tier, policy, addresses }: Network,
  { directory, known }: { directory: DirectoryClient; known: KnownMembers },
  owned: AsyncDisposableStack,
): Promise<void> {
  const life = new AbortController();
  const news = AbortSignal.any([signal, life.signal]);
  const joining = directory
    .attach({ signal: life.signal })
    .then(() => learnPolicy(tier, directory, { log, signal: news }))
    .then(() => known.confirm())
    .catch((error) => {
      if (!life.signal.aborted) log('policy-unknown', { why: String(error) });
    });
  owned.defer(async () => {
    life.abort();
    await joining;
  });
  const round = new Promise<void>((resolve) => directory.once('round', resolve));
  await Promise.race([joining, round, sleep(FIRST_NEWS_MS, undefined, { signal })]);
  if (directory.superPeer !== undefined) return;
  const members = known.all();
  log('started-from-cache', { members: members.length, why: directory.problem ?? 'no answer yet' });
  tier.keep(contacts(peerId, members));
  policy.follow(addresses.settle(members));
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
  tier.trust.on('change', () => renewal.follow(tier.trust.trust().epoch));
  tier.trust.on('policy', () => renewal.look());
  // A new epoch may have been told while this member attached.
  renewal.follow(tier.trust.trust().epoch);
  return renewal;
}
