/**
 * A member among the others: tier 2, the owner's policy, and a pair with each peer.
 *
 * ```
 *  tier 2 ── descriptor, policy, revocations ─▶ policy enforcement ─ enforced ─▶ peers
 * ```
 */
import { join } from 'node:path';
import type { Ed25519PrivateKey } from '@libp2p/interface';
import { formatPrefix } from '../../codec/ip.ts';
import { ipOf } from '../../codec/multiaddr.ts';
import type { ExchangeContext } from '../../keymgmt/exchange/context.ts';
import { ALL_SUITES, type Lifetimes } from '../../keymgmt/exchange/suite.ts';
import type { Trust } from '../../overlay/gate.ts';
import { permittedSubnets } from '../../policy/evaluate.ts';
import { heldSince } from '../../records/credential.ts';
import { AddressWatch } from '../address-watch.ts';
import { Peers } from '../peers.ts';
import { PolicyEnforcement, policyMember } from '../policy.ts';
import type { Standing } from '../standing.ts';
import { hostBlock } from '../subnets.ts';
import { TIER_2, Tier } from '../tier.ts';
import { isUnderlay, machineAddresses } from '../underlay.ts';
import type { Arrival } from './arrival.ts';
import type { MemberKernel } from './kernel.ts';
import type { MemberOptions } from './options.ts';

/**
 * Hard limits of an SA: an hour, or a volume far below what AES-GCM with a 64-bit counter and ESN
 * may carry (RFC 4106, section 6; RFC 8221).
 */
const LIFETIMES: Lifetimes = { seconds: 3600, bytes: 2 ** 40, packets: 2 ** 32 };

export interface Network {
  readonly tier: Tier;
  readonly policy: PolicyEnforcement;
  readonly peers: Peers;
  /** What a list of members passes before anything else. */
  readonly addresses: AddressWatch;
}

/** Nobody is a peer yet when it returns: the policy is not known. @param owned ends it */
export async function enterNetwork(
  options: MemberOptions,
  arrival: Arrival,
  kernel: MemberKernel,
  owned: AsyncDisposableStack,
): Promise<Network> {
  const { log, stateDir } = options;
  const { host, virtual, superPeers } = arrival;
  const tier = owned.use(
    await Tier.start({
      ...{ kind: TIER_2, host, log, directory: join(stateDir, 'records') },
      descriptor: arrival.standing.descriptor,
      credential: () => arrival.standing.credential.bytes,
    }),
  );
  superPeers.follow(() => tier.trust.descriptor.value);
  const policy = new PolicyEnforcement({
    ...{ firewall: kernel.firewall, log, policy: () => tier.trust.policy },
    prefixes: virtual.map(formatPrefix),
    self: () => policyMember(arrival.standing.credential.value),
  });
  const peers = owned.use(await startPeers(options, arrival, kernel, { tier, policy }));
  owned.use(policy);
  const recheck = (): void => {
    peers.recheck().catch((error) => log('recheck-failed', { why: String(error) }));
  };
  tier.trust.on('change', recheck);
  tier.trust.on('policy', () => policy.refresh());
  policy.on('blocked', recheck);
  kernel.dataPlane.on('soundness', (why) => (why ? recheck() : policy.refresh()));
  policy.on('enforced', (members) => {
    const { encapsulation } = tier.trust.policy?.document ?? {};
    if (kernel.encapsulation.follow(encapsulation)) peers.renew();
    peers.set(members).catch((error) => log('peers-failed', { why: String(error) }));
  });
  const addresses = new AddressWatch(() => arrival.standing.credential, log);
  return { tier, policy, peers, addresses };
}

function startPeers(
  { subnets = [], saLifetimes, saIdle, log }: MemberOptions,
  arrival: Arrival,
  { dataPlane, encapsulation }: MemberKernel,
  { tier, policy }: Pick<Network, 'tier' | 'policy'>,
): Promise<Peers> {
  const { host, virtual, superPeers, bootstrap, state, own, observed } = arrival;
  const { serviceId } = bootstrap;
  const trust = (): Trust => tier.trust.trust();
  const lifetimes = { ...LIFETIMES, ...saLifetimes };
  const superPeerBlocks = (): string[] =>
    superPeers.all.flatMap(({ multiaddr }) => ipOf(multiaddr) ?? []).map(hostBlock);
  return Peers.start({
    ...{ tier, dataPlane, local: state.peerId, serviceId, log },
    context: () => ({ ...exchangeContext(state.key, arrival.standing), lifetimes }),
    // While the policy is not enforced, or what has to be in the kernel does not stay there, nobody is a peer.
    trust: () =>
      policy.blocked || dataPlane.unsound ? { ...trust(), revoked: () => true } : trust(),
    ipv4: arrival.standing.credential.value.ipv4,
    encapsulation: () => encapsulation.policy,
    addresses: () => own.ranked(machineAddresses(virtual)),
    observed: () => observed.addresses,
    multiaddrs: () => host.multiaddrs(),
    isUnderlay: (address) => isUnderlay(address, virtual),
    permitted: (member) =>
      permittedSubnets(tier.trust.policy?.document, policyMember(member.credential.value)),
    announced: () => {
      const { value: me } = arrival.standing.credential;
      const led = permittedSubnets(tier.trust.policy?.document, policyMember(me));
      return { id: me.peerId.toString(), since: heldSince(me), subnets: led };
    },
    reserved: () => [...subnets, ...virtual.map(formatPrefix), ...superPeerBlocks()],
    ...(saIdle !== undefined && { timing: { idle: saIdle } }),
  });
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
