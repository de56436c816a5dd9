/**
 * A running member: one VM in one service.
 *
 * ```
 * start ─▶ host ─▶ standing ─────────▶ data plane ─▶ gate, tier 2 ─▶ directory ─▶ up
 *                  from the cache, or   interface,    others' door    members,
 *                  by SRP, once         addresses                     trap policies
 * ```
 */
import { join } from 'node:path';
import type { Ed25519PrivateKey } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { formatPrefix, parsePrefix } from '../codec/ip.ts';
import { IcvpnError } from '../errors.ts';
import { findSite } from '../ipsec/dataplane/find-site.ts';
import { DataPlane, type Site } from '../ipsec/dataplane.ts';
import type { ExchangeContext } from '../keymgmt/exchange/context.ts';
import { ALL_SUITES, type Lifetimes } from '../keymgmt/exchange/suite.ts';
import { DirectoryClient } from '../overlay/directory-client.ts';
import type { Trust } from '../overlay/gate.ts';
import { createHost, type Host } from '../overlay/host.ts';
import { POLICY_RECORD } from '../overlay/stored-kinds.ts';
import { permittedSubnets } from '../policy/evaluate.ts';
import type { EncapsulationPolicy } from '../policy/grant.ts';
import {
  type Bootstrap,
  formatBootstrap,
  parseBootstrap,
  type SuperPeerAddress,
  superPeerAddresses,
} from '../records/bootstrap.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import { interfaceId, ipv6Prefix } from '../records/virtual-address.ts';
import { announced, lacking, missing } from './announced.ts';
import { contacts } from './contacts.ts';
import { DiscoveryClient } from './discovery-client.ts';
import { EncapsulationSetting } from './encapsulation.ts';
import { EndpointPublisher } from './endpoint.ts';
import { MemberFirewall } from './firewall.ts';
import type { Log } from './log.ts';
import { memberStatus, memberView, policyView } from './member-status.ts';
import { ObservedAddresses } from './observed.ts';
import { Peers } from './peers.ts';
import { PolicyEnforcement, policyMember } from './policy.ts';
import { learnPolicy } from './policy-news.ts';
import { Renewal } from './renewal.ts';
import { Roaming } from './roaming.ts';
import { obtainStanding, type Standing } from './standing.ts';
import { NodeState } from './state.ts';
import type { MemberStatus, MemberView, PolicyView } from './status.ts';
import { hostBlock } from './subnets.ts';
import { TIER_2, Tier } from './tier.ts';
import { addressesOf, isUnderlay, machineAddresses, underlayOnly } from './underlay.ts';

/**
 * Hard limits of an SA: an hour, or a volume far below what AES-GCM with a 64-bit counter and ESN
 * may carry (RFC 4106, section 6; RFC 8221).
 */
const LIFETIMES: Lifetimes = { seconds: 3600, bytes: 2 ** 40, packets: 2 ** 32 };

export interface MemberOptions {
  readonly stateDir: string;
  /** File with the key of the secure cache. */
  readonly keyFile?: string;
  /** Needed at the first start; kept in the secure cache from then on. */
  readonly bootstrap?: Bootstrap;
  readonly vmid: string;
  readonly roles: string[];
  readonly listen: string[];
  readonly announce: string[];
  readonly interfaceName: string;
  /** CIDRs behind this member, which it makes known to the others; none if left out. */
  readonly subnets?: readonly string[];
  /** The interfaces that those are behind; those that routes lead to if left out. */
  readonly subnetInterfaces?: readonly string[];
  /** Hard limits of this node's SAs, offered to its peers; the lower of both ends' counts. */
  readonly saLifetimes?: Partial<Lifetimes>;
  /** ESP as it is or in UDP, where the service's policy leaves it open; `auto` if left out. */
  readonly encapsulation?: EncapsulationPolicy;
  /** UDP port for ESP in UDP; {@link NAT_TRAVERSAL_PORT} if left out. */
  readonly udpPort?: number;
  /** Milliseconds without a packet after which a peer's SAs are given up. */
  readonly saIdle?: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export class MemberError extends IcvpnError {}

interface Parts {
  readonly host: Host;
  readonly renewal: Renewal;
  readonly tier: Tier;
  readonly dataPlane: DataPlane;
  readonly directory: DirectoryClient;
  readonly peers: Peers;
  readonly policy: PolicyEnforcement;
}

export class Member implements AsyncDisposable {
  readonly #options: MemberOptions;
  readonly #parts: Parts;
  readonly #owned: AsyncDisposableStack;

  private constructor(options: MemberOptions, parts: Parts, owned: AsyncDisposableStack) {
    this.#options = options;
    this.#parts = parts;
    this.#owned = owned;
  }

  /**
   * @returns a member that is admitted, attached to a super-peer and ready for its first packet
   * @throws IcvpnError with what is wrong; nothing is left in the kernel or running then
   */
  static async start(options: MemberOptions): Promise<Member> {
    await using owned = new AsyncDisposableStack();
    const { log, signal, stateDir } = options;
    const state = owned.use(await NodeState.open(stateDir, options));
    const { key, peerId, cache } = state;
    const bootstrap = await keepBootstrap(state, options.bootstrap);
    const { serviceId } = bootstrap;
    const { subnets = [], subnetInterfaces = [] } = options;
    const site = await findSite({ subnets, interfaces: subnetInterfaces }, { signal });
    await DataPlane.probe({ ifId: interfaceId(serviceId), site, signal });
    const virtual = [ipv6Prefix(serviceId)];
    // An address in a subnet behind this member is no way to it for others: their way leads through it.
    const inside = [...virtual, ...subnets.map(parsePrefix)];
    const host = await createHost({ ...options, key, announceFilter: underlayOnly(inside) });
    owned.defer(() => host.close());
    let superPeers = (): readonly SuperPeerAddress[] => bootstrap.superPeers;
    const observed = owned.use(
      new ObservedAddresses({
        ...{ host, addresses: () => machineAddresses(virtual) },
        superPeers: () => superPeers().map((each) => each.peerId),
        isUnderlay: (address) => isUnderlay(address, virtual),
      }),
    );
    const admitted = await obtainStanding(state, { ...bootstrap, ...options, host });
    const own = { host, key, cache, serviceId, subnets, log };
    const standing = await announced(
      admitted,
      { ...own, superPeers: () => knownSuperPeers(bootstrap, admitted.descriptor.value) },
      signal,
    );
    for (const each of [virtual, inside]) each.push(standing.descriptor.value.ipv4Prefix);
    // Goes after the data plane, so that nothing passes unfiltered meanwhile.
    const { interfaceName } = options;
    const firewall = owned.use(
      MemberFirewall.of(interfaceName, standing.credential.value, site.interfaces),
    );
    const dataPlane = await openDataPlane({ interfaceName, site, signal }, standing);
    owned.defer(() => dataPlane.close());
    dataPlane.on('error', (error) => log('kernel-events-failed', { why: error.message }));
    const encapsulation = new EncapsulationSetting(dataPlane, options);
    dataPlane.on('shadowed', (subnet) => log('subnet-shadowed', { subnet }));
    dataPlane.on('site', (stranded) =>
      log('site-changed', { stranded: stranded.join() || 'none' }),
    );
    let newest = standing;
    const tier = owned.use(
      await Tier.start({
        ...{ kind: TIER_2, host, log, directory: join(stateDir, 'records') },
        descriptor: standing.descriptor,
        credential: () => newest.credential.bytes,
      }),
    );
    superPeers = () => knownSuperPeers(bootstrap, tier.trust.descriptor.value);
    const trust = (): Trust => tier.trust.trust();
    const policy = new PolicyEnforcement({
      ...{ firewall, log, policy: () => tier.trust.policy, prefixes: virtual.map(formatPrefix) },
      self: () => policyMember(newest.credential.value),
    });
    const lifetimes = { ...LIFETIMES, ...options.saLifetimes };
    const context = () => ({ ...exchangeContext(key, newest), lifetimes });
    const peers = owned.use(
      await Peers.start({
        ...{ tier, dataPlane, local: peerId, serviceId, context, log },
        // While the policy is not enforced nobody is a peer.
        trust: () => (policy.blocked ? { ...trust(), revoked: () => true } : trust()),
        ...{ ipv4: standing.credential.value.ipv4, encapsulation: () => encapsulation.policy },
        addresses: () => machineAddresses(virtual),
        multiaddrs: () => host.multiaddrs(),
        permitted: (member) => permittedSubnets(tier.trust.policy?.document, policyMember(member)),
        reserved: () => [
          ...[...subnets, ...virtual.map(formatPrefix)],
          ...superPeers().flatMap(({ multiaddr: at }) =>
            addressesOf([at.toString()]).map(hostBlock),
          ),
        ],
        ...(options.saIdle !== undefined && { timing: { idle: options.saIdle } }),
      }),
    );
    owned.use(policy);
    const recheck = (): void => {
      peers.recheck().catch((error) => log('recheck-failed', { why: String(error) }));
    };
    tier.trust.on('change', recheck);
    tier.trust.on('policy', () => policy.refresh());
    policy.on('blocked', recheck);
    firewall.on('disturbed', () => policy.putBack());
    firewall.on('deaf', (error) => log('firewall-events-failed', { why: error.message }));
    policy.on('enforced', (members) => {
      if (encapsulation.follow(tier.trust.policy?.document.encapsulation)) peers.renew();
      peers.set(members).catch((error) => log('peers-failed', { why: String(error) }));
    });
    const endpoint = owned.use(
      new EndpointPublisher({
        ...{ key, peerId, serviceId, log, records: tier.records },
        multiaddrs: () => host.multiaddrs(),
        observed: () => observed.addresses,
      }),
    );
    const { gate } = tier;
    const targets = (): Multiaddr[] => superPeers().map((each) => each.multiaddr);
    const { seal } = owned.use(
      new DiscoveryClient({
        ...{ gate, cache, peerId, trust, log, superPeers: targets },
        service: () => tier.trust.descriptor.value,
        epoch: () => newest.credential.value.epoch,
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
    await directory.attach({ signal });
    await learnPolicy(tier, directory, { log, signal });
    await policy.open();
    const renewal = owned.use(
      new Renewal(standing, {
        ...{ ...own, superPeers },
        isLacking: (renewed) => lacking(renewed, subnets, tier.trust.policy?.document).length > 0,
        onRenewed: (renewed) => {
          newest = renewed;
          const withdrawn = missing(renewed, subnets);
          if (withdrawn.length > 0) log('subnets-withdrawn', { subnets: withdrawn.join() });
          policy.refresh();
          directory.reattach();
        },
      }),
    );
    tier.trust.on('change', () => renewal.follow(tier.trust.trust().epoch));
    tier.trust.on('policy', () => renewal.look());
    // A new epoch may have been told while this member attached.
    renewal.follow(tier.trust.trust().epoch);
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
    log('up', { service: serviceId, ipv4: standing.credential.value.ipv4 });
    const parts = { host, renewal, tier, dataPlane, directory, peers, policy };
    return new Member(options, parts, owned.move());
  }

  async status(): Promise<MemberStatus> {
    const { renewal, tier } = this.#parts;
    return memberStatus({
      ...this.#parts,
      credential: renewal.standing.credential,
      service: tier.trust.descriptor.value,
      interfaceName: this.#options.interfaceName,
    });
  }

  /** What this member may see of the service's members: all of it, as super-peers told it. */
  members(): MemberView {
    const { directory, tier, renewal } = this.#parts;
    return memberView(tier.trust.descriptor.value, directory, renewal.standing.credential.value);
  }

  /** The newest policy that this member knows; undefined while it knows none. */
  policy(): PolicyView | undefined {
    const { policy, tier } = this.#parts;
    return policyView(policy, tier.records.latest(POLICY_RECORD, tier.trust.serviceId)?.value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#options.log('down');
    await this.#owned.disposeAsync();
  }
}

function openDataPlane(
  own: { interfaceName: string; site: Site; signal: AbortSignal },
  { descriptor, credential }: Standing,
): Promise<DataPlane> {
  const { serviceId, ipv4Prefix } = descriptor.value;
  const { ipv4, ipv6 } = credential.value;
  return DataPlane.open({
    ...own,
    ifId: interfaceId(serviceId),
    virtualAddresses: { ipv4, ipv6 },
    prefixes: { ipv6: formatPrefix(ipv6Prefix(serviceId)), ipv4: formatPrefix(ipv4Prefix) },
  });
}

/** Those of the bootstrap data first, in their order; then those that the descriptor names besides. */
function knownSuperPeers(
  { superPeers }: Bootstrap,
  service: ServiceDescriptor,
): readonly SuperPeerAddress[] {
  const named = superPeerAddresses(service);
  const first = superPeers.filter(({ peerId }) => named.some((each) => each.peerId.equals(peerId)));
  const rest = named.filter(({ peerId }) => !first.some((each) => each.peerId.equals(peerId)));
  return [...first, ...rest];
}

/** Bootstrap data given now takes the place of what was kept. @throws MemberError when there is neither */
async function keepBootstrap(state: NodeState, given: Bootstrap | undefined): Promise<Bootstrap> {
  if (given !== undefined) {
    await state.cache.put('bootstrap', new TextEncoder().encode(formatBootstrap(given)));
    return given;
  }
  const kept = await state.cache.get('bootstrap');
  if (kept !== undefined) return parseBootstrap(new TextDecoder().decode(kept));
  throw new MemberError(
    'ERR_NO_BOOTSTRAP',
    `${state.dir} knows no service`,
    "give the service's bootstrap data with --bootstrap at the first start",
  );
}

function exchangeContext(
  key: Ed25519PrivateKey,
  { credential, epochPsk }: Standing,
): Omit<ExchangeContext, 'peer' | 'verify' | 'path' | 'lifetimes'> {
  const { serviceId, epoch } = credential.value;
  return {
    identity: { key, credential: credential.bytes },
    serviceId,
    epoch,
    psk: epochPsk,
    suites: ALL_SUITES,
  };
}
