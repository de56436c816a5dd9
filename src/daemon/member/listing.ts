/**
 * Who the other members are: what the directory lists, what the cache knows, which of them count.
 *
 * ```
 *  directory ─▶ known members, in the cache
 *      └──────▶ roster ─▶ contacts of tier 2, one member an address ─▶ policy ─▶ peers
 * ```
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Multiaddr } from '@multiformats/multiaddr';
import { stillHolds } from '../../overlay/directory-check.ts';
import { DirectoryClient } from '../../overlay/directory-client.ts';
import { REVOCATION_RECORD } from '../../overlay/stored-kinds.ts';
import { contacts } from '../contacts.ts';
import { DiscoveryClient } from '../discovery-client.ts';
import { PATIENCE_MS, Waiting } from '../patience.ts';
import { learnPolicy } from '../policy-news.ts';
import { Roster } from '../roster.ts';
import type { Arrival } from './arrival.ts';
import { KnownMembers } from './known-members.ts';
import type { Network } from './network.ts';
import type { MemberOptions } from './options.ts';

/** Milliseconds in which a super-peer that answers tells its news before peers from the cache count. */
const FIRST_NEWS_MS = 1_500;

export interface Listing {
  readonly directory: DirectoryClient;
  readonly known: KnownMembers;
  readonly roster: Roster;
}

/** Nothing is asked yet when it returns. @param owned ends it */
export async function openListing(
  { log }: MemberOptions,
  arrival: Arrival,
  { tier, policy, peers, addresses }: Network,
  owned: AsyncDisposableStack,
): Promise<Listing> {
  const { host, superPeers, bootstrap } = arrival;
  const { cache, peerId } = arrival.state;
  const { gate } = tier;
  const trust = () => tier.trust.trust();
  const context = { self: peerId, serviceId: bootstrap.serviceId, clock: Date.now, trust };
  const { serviceId } = bootstrap;
  const ownersWord = () => ({
    policy: tier.trust.policy?.sequence,
    revocations: tier.records.latest(REVOCATION_RECORD, serviceId, serviceId)?.value.sequence,
  });
  const known = owned.use(await KnownMembers.open({ cache, log, context, ownersWord }));
  tier.trust.on('policy', () => known.note());
  const roster = owned.use(
    new Roster({
      log,
      moves: (member) => peers.moves(member.peerId),
      holds: (member) => stillHolds(member, context),
    }),
  );
  tier.trust.on('change', () => {
    known.note();
    roster.recheck();
  });
  roster.on('change', (members) => {
    tier.list(members.map((each) => each.peerId));
    tier.keep(contacts(peerId, members));
    policy.follow(addresses.settle(members));
  });
  const targets = (): Multiaddr[] => superPeers.all.map((each) => each.multiaddr);
  const { seal } = owned.use(
    new DiscoveryClient({
      ...{ gate, cache, peerId, trust, log, superPeers: targets },
      service: () => tier.trust.descriptor.value,
      epoch: () => arrival.standing.credential.value.epoch,
    }),
  );
  const directory = new DirectoryClient({
    ...{ gate, trust, seal, superPeers: targets, known: known.all() },
    multiaddrs: () => host.multiaddrs(),
  });
  owned.defer(() => directory.goodbye());
  directory.on('change', (members) => {
    known.follow(members);
    roster.follow(members);
  });
  directory.on('duplicate', (at) => log('duplicate-node', { at }));
  logAttachments(directory, log);
  return { directory, known, roster };
}

/** A cause is logged once, and not at each of the tries that it fails. */
function logAttachments(directory: DirectoryClient, log: MemberOptions['log']): void {
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
}

/**
 * The first start: members and policy are known from a super-peer only.
 *
 * @throws DirectoryClientError when none answers in time
 */
export async function startFromSuperPeer(
  { log, signal, patience = PATIENCE_MS }: MemberOptions,
  { tier }: Network,
  { directory, known }: Listing,
): Promise<void> {
  using waiting = new Waiting('a super-peer of the service to tell its members', log);
  directory.on('round', () => waiting.because(directory.problem ?? 'no answer'));
  const limit = AbortSignal.timeout(patience);
  await directory.attach({ signal: AbortSignal.any([signal, limit]) });
  await learnPolicy(tier, directory, { log, signal });
  known.confirm();
}

/** A super-peer that answers at once is heard first. When none does, what the cache has is in force. */
export async function startFromCache(
  { log, signal }: MemberOptions,
  { tier }: Network,
  { directory, known, roster }: Listing,
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
  roster.follow(members);
}
