/**
 * What the kernel's policies for one peer say, as data: for each block of ours and each of theirs
 *
 *     ours    ──out──► theirs      template: tunnel, local → remote, reqid
 *     theirs  ──in───► ours        template: tunnel, remote → local, reqid
 *             ──fwd──► (same, for a packet to be forwarded)
 *
 * A block is a virtual address, or a subnet behind the one end or the other: both of one inner family,
 * over an underlay of either. All of them carry the if_id of the interface: by it they match only
 * packets of that interface, and by it their owner knows them. The reqid is the peer's alone: what one
 * peer's SA decrypts, another peer's policy refuses, so a member cannot speak with the address of
 * another, nor a gateway with one that is not behind it.
 */
import { isIPv6 } from 'node:net';
import type { PolicySpec } from '../xfrm/policy.ts';
import type { GatePhase } from './gate-state.ts';
import type { PeerContext, Side } from './peer.ts';

/** Below the priorities that other IPsec daemons give, so that theirs win where selectors overlap. */
const POLICY_PRIORITY = 0x10000;

interface Pairing {
  readonly own: string;
  readonly peer: string;
  /** The own block is a subnet: its packets are forwarded, not made here. */
  readonly forwarded: boolean;
}

const FAMILIES = ['ipv6', 'ipv4'] as const;

function hosts({ virtualAddresses }: Side, family: 'ipv6' | 'ipv4'): string {
  return `${virtualAddresses[family]}/${family === 'ipv6' ? 128 : 32}`;
}

const isOf = (family: 'ipv6' | 'ipv4') => (cidr: string) =>
  isIPv6(cidr.split('/')[0] ?? '') === (family === 'ipv6');

function pairings({ ours, theirs }: PeerContext): Pairing[] {
  return FAMILIES.flatMap((family) => {
    const peers = [hosts(theirs, family), ...theirs.subnets.filter(isOf(family))];
    const own = hosts(ours, family);
    return [
      ...peers.map((peer) => ({ own, peer, forwarded: false })),
      ...ours.subnets
        .filter(isOf(family))
        .flatMap((subnet) => peers.map((peer) => ({ own: subnet, peer, forwarded: true }))),
    ];
  });
}

export function peerPolicies(context: PeerContext): PolicySpec[] {
  const { underlay, reqid, ifId } = context;
  const { local, remote } = underlay;
  return pairings(context).flatMap(({ own, peer }) => {
    const tunnel = { mode: 'tunnel', protocol: 'esp', reqid } as const;
    const common = { ifId, priority: POLICY_PRIORITY };
    const inbound = {
      ...common,
      selector: { source: peer, destination: own },
      templates: [{ ...tunnel, source: remote, destination: local }],
    };
    return [
      {
        ...common,
        direction: 'out' as const,
        selector: { source: own, destination: peer },
        templates: [{ ...tunnel, source: local, destination: remote }],
      },
      { ...inbound, direction: 'in' as const },
      { ...inbound, direction: 'fwd' as const },
    ];
  });
}

/** Policies of this priority, from our own virtual address or for our interface and without if_id, are gates of ours. */
export const GATE_PRIORITY = 0x69637670;

/**
 * The gate before the interface, one policy for each two blocks, without if_id, so that it is looked
 * at when a packet is routed. An xfrm interface drops the packet that finds no SA: its lookup does
 * not ask for the policy's queue, but the one at routing does. So while there is no SA the gate is
 * `closed`, a trap whose template nothing satisfies: the kernel holds up to 100 packets in the
 * policy's queue and asks for keys. Replaced by an `open` gate, a policy without template, it
 * hands its queue on and the packets go their way, into the interface and through the SA; then it is
 * taken `away`, for it would only cost (`gate-state.ts`). Where
 * `net.core.xfrm_larval_drop` is not 0 the packets are dropped as they would be without a gate.
 *
 * Two services may have the same subnets. A gate for forwarded packets therefore names the interface
 * that routing chose; one for this machine's own does not need to, since its source is the
 * virtual address, which only one service has.
 */
export function gatePolicies(context: PeerContext, gate: GatePhase): PolicySpec[] {
  if (gate === 'away') return [];
  const { underlay, reqid, interfaceIndex } = context;
  const tunnel = { mode: 'tunnel', protocol: 'esp', reqid } as const;
  const trap = { ...tunnel, source: underlay.local, destination: underlay.remote };
  return pairings(context).map(({ own, peer, forwarded }) => ({
    direction: 'out',
    priority: GATE_PRIORITY,
    selector: { source: own, destination: peer, ...(forwarded && { interfaceIndex }) },
    templates: gate === 'closed' ? [trap] : [],
  }));
}

/** The policies that a peer has for some subnets behind it alone. */
export function subnetPolicies(
  context: PeerContext,
  subnets: readonly string[],
  gate: GatePhase,
): PolicySpec[] {
  const only = { ...context, theirs: { ...context.theirs, subnets } };
  return [...peerPolicies(only), ...gatePolicies(only, gate)].filter(
    ({ selector }) => subnets.includes(selector.source) || subnets.includes(selector.destination),
  );
}
