/**
 * A member's way to its standing in the service.
 *
 * ```
 *  state ─▶ bootstrap data ─▶ kernel tried ─▶ host ─▶ admission, or what the cache kept ─▶ subnets granted
 * ```
 */
import { checkRequest } from '../../admission/own-request.ts';
import { formatPrefix, type Prefix, parsePrefix } from '../../codec/ip.ts';
import { ipOf } from '../../codec/multiaddr.ts';
import { findSite } from '../../ipsec/dataplane/find-site.ts';
import { DataPlane, type Site } from '../../ipsec/dataplane.ts';
import { createHost, type Host } from '../../overlay/host.ts';
import type { KnownService } from '../../records/bootstrap.ts';
import { interfaceId, ipv6Prefix } from '../../records/virtual-address.ts';
import { announced } from '../announced.ts';
import { SuperPeersError } from '../ask-super-peers.ts';
import { ObservedAddresses } from '../observed.ts';
import { obtainStanding } from '../obtain-standing.ts';
import { OwnAddresses } from '../own-addresses.ts';
import { hasEnded, loadStanding, type Standing } from '../standing.ts';
import { NodeState } from '../state.ts';
import { lockState } from '../state-lock.ts';
import { isUnderlay, machineAddresses } from '../underlay.ts';
import { forgetSecret, keepService, knownService } from './bootstrap.ts';
import type { MemberOptions } from './options.ts';
import { KnownSuperPeers } from './super-peers.ts';

export interface Arrival {
  readonly state: NodeState;
  readonly bootstrap: KnownService;
  readonly site: Site;
  readonly host: Host;
  readonly own: OwnAddresses;
  readonly observed: ObservedAddresses;
  readonly superPeers: KnownSuperPeers;
  /** Prefixes of the service's virtual addresses. */
  readonly virtual: readonly Prefix[];
  /** Those, and the subnets behind this member: an address in them is no way to it for others. */
  readonly inside: readonly Prefix[];
  /** The newest one: a renewal puts another in its place. */
  standing: Standing;
}

/**
 * @param owned closes what was opened
 * @throws IcvpnError with what is wrong
 */
export async function arrive(
  options: MemberOptions,
  owned: AsyncDisposableStack,
): Promise<Arrival> {
  const { signal, log, subnets = [], subnetInterfaces = [] } = options;
  if (options.lock === undefined) owned.use(await lockState(options.stateDir, 'a member'));
  checkRequest({ ...options, subnets });
  const state = owned.use(await NodeState.open(options.stateDir, options));
  const { key, cache } = state;
  const bootstrap = await knownService(state, options.bootstrap);
  const { serviceId } = bootstrap;
  const site = await findSite({ subnets, interfaces: subnetInterfaces }, { signal });
  const before = await loadStanding(cache);
  const isMember = before?.credential.value.serviceId.equals(serviceId) === true;
  const ipv4 = isMember ? before.descriptor.value.ipv4Prefix : bootstrap.ipv4Prefix;
  await DataPlane.probe({
    ...{ ifId: interfaceId(serviceId), interfaceName: options.interfaceName, site, signal },
    prefixes: [ipv6Prefix(serviceId), ...(ipv4 ? [ipv4] : [])].map(formatPrefix),
  });
  const virtual = [ipv6Prefix(serviceId)];
  const inside = [...virtual, ...subnets.map(parsePrefix)];
  const superPeers = new KnownSuperPeers(bootstrap);
  const own = new OwnAddresses({
    ...{ virtual: inside, log },
    superPeers: () => superPeers.all.flatMap(({ multiaddr }) => ipOf(multiaddr) ?? []),
  });
  await own.refresh();
  const host = await createHost({ ...options, key, announceFilter: own.announced });
  owned.defer(() => host.close());
  const observed = owned.use(
    new ObservedAddresses({
      ...{ host, addresses: () => machineAddresses(virtual) },
      superPeers: () => superPeers.all.map((each) => each.peerId),
      isUnderlay: (address) => isUnderlay(address, virtual),
    }),
  );
  // A start that ends before its admission goes on with what it was given.
  if (!isMember) await keepService(state, bootstrap);
  const admitted = await obtainStanding(state, { ...options, ...bootstrap, host });
  if (!hasEnded(admitted)) await forgetSecret(state, bootstrap);
  superPeers.follow(() => admitted.descriptor.value);
  const wish = { host, key, cache, serviceId, subnets, log };
  const renewed = announced(admitted, { ...wish, superPeers: () => superPeers.all }, signal);
  const standing = await renewed.catch((error: unknown) => {
    // A VM that was a member goes on with what its credential names; the renewal asks for the rest.
    if (!(error instanceof SuperPeersError) || before === undefined) throw error;
    log('subnets-unconfirmed', { subnets: subnets.join() || 'none', why: error.message });
    return admitted;
  });
  for (const each of [virtual, inside]) each.push(standing.descriptor.value.ipv4Prefix);
  return { state, bootstrap, site, host, own, observed, superPeers, virtual, inside, standing };
}
