/** `icvpn status`, `icvpn members` and `icvpn policy show` for people. */
import { RevokedError } from '../admission/errors.ts';
import { noSaText } from '../daemon/no-sa.ts';
import type {
  MemberStatus,
  MemberView,
  PathStatus,
  PeerStatus,
  PolicyStatus,
  PolicyView,
} from '../daemon/status.ts';
import type { SuperPeerStatus } from '../daemon/super-peer.ts';
import { IcvpnError } from '../errors.ts';
import { sequenceText, table } from './output.ts';

/** @param status what the daemon answered: a MemberStatus, a SuperPeerStatus, or that it is starting */
export function statusText(status: unknown): string {
  if (isMember(status)) return memberText(status);
  if (isSuperPeer(status)) return superPeerText(status);
  return isWaiting(status) ? `starting, ${status.waiting}` : 'starting';
}

const isWaiting = (status: unknown): status is { readonly waiting: string } =>
  typeof status === 'object' &&
  status !== null &&
  'waiting' in status &&
  typeof status.waiting === 'string';

function hasRole(status: unknown, role: string): boolean {
  return typeof status === 'object' && status !== null && 'role' in status && status.role === role;
}
const isMember = (status: unknown): status is MemberStatus => hasRole(status, 'member');
const isSuperPeer = (status: unknown): status is SuperPeerStatus => hasRole(status, 'super-peer');

function memberText(status: MemberStatus): string {
  const rows = status.members.map((each) => [
    each.vmid + (each.self ? ' (this VM)' : each.listed ? '' : ' (not listed now)'),
    each.ipv4,
    each.ipv6,
    each.underlay ?? '-',
    each.self ? '' : pathText(each),
    each.sa === null ? '' : `${each.sa.packetsOut} out, ${each.sa.packetsIn} in`,
  ]);
  return [
    `${status.service.name}: ${status.vmid} is ${status.ipv4}, ${status.ipv6} on ${status.interface}`,
    policyLine(status.policy),
    `attached to ${status.superPeer ?? 'no super-peer'}; epoch ${status.epoch}; credential ends ${status.credentialEnds}`,
    ...(status.revoked ? [REVOKED] : []),
    ...conflictLines(status),
    ...status.overlaps.map((each) => `OVERLAP: ${each}: packets there may go the wrong way`),
    ...(status.waiting === null ? [] : [status.waiting]),
    ...(status.duplicate === null ? [] : [duplicateText(status.duplicate)]),
    ...kernelLines(status),
    table(['VM', 'IPv4', 'IPv6', 'underlay', 'traffic', 'packets'], rows),
  ].join('\n');
}

const REVOKED =
  'REVOKED: this VM was thrown out of the service, and no member talks to it any more';

/** @throws RevokedError, CredentialEndedError when what `status` tells is of a member that is none any more */
export function assertMember(status: unknown): void {
  if (!isMember(status)) return;
  if (status.revoked) throw new RevokedError();
  if (Date.parse(status.credentialEnds) <= Date.now()) throw new CredentialEndedError(status);
}

/** This VM is no member until a super-peer renews its credential. */
class CredentialEndedError extends IcvpnError {
  constructor({ credentialEnds }: MemberStatus) {
    super(
      'ERR_CREDENTIAL_ENDED',
      `the credential of this VM ended at ${credentialEnds}, and no super-peer has renewed it yet`,
      'check the network, the clock, and that a super-peer of the service runs; it goes on asking',
    );
  }
}

/** A line for each two members that claim one virtual address or subnet. */
function conflictLines({ conflicts, subnetConflicts, members }: MemberStatus): string[] {
  const name = (id: string): string => {
    const found = members.find(({ peerId }) => peerId === id);
    return found === undefined ? id : `${found.vmid} (${id})`;
  };
  return [
    ...conflicts.map(
      ({ ipv4, holder, refused }) =>
        `CONFLICT: ${ipv4} is ${name(holder)}'s; ${name(refused)} claims it too, and is no peer until it has renewed`,
    ),
    ...subnetConflicts.map(
      ({ subnet, holder, refused }) =>
        `CONFLICT: ${name(refused)} announces ${subnet}, which overlaps a subnet of ${name(holder)}: the first one keeps it`,
    ),
  ];
}

const duplicateText = (other: string): string =>
  `ANOTHER MACHINE uses this VM's node key, seen at ${other}: give each its own state directory`;

function kernelLines({ kernelProblem, packetsWait, rulesAbove }: MemberStatus): string[] {
  return [
    ...(packetsWait
      ? []
      : [
          'first packets to a peer are LOST: /proc/sys is read-only; set net.core.xfrm_larval_drop=0',
        ]),
    ...(kernelProblem === null
      ? []
      : [`NOBODY IS TALKED TO: the kernel is not as it has to be: ${kernelProblem}`]),
    ...rulesAbove.map(
      (rule) => `routing rule before icvpn's, the guard drops what it leads away: ${rule}`,
    ),
  ];
}

function policyLine(policy: PolicyStatus | null): string {
  if (policy === null) return 'no policy: all members may talk to each other';
  const { sequence, applied, problem } = policy;
  if (applied !== null) return `policy ${sequenceText(sequence)}, applied since ${applied}`;
  return `policy ${sequenceText(sequence)} is NOT applied, and nobody is talked to: ${problem ?? 'it has just come'}`;
}

/** @param view what the daemon answered: a PolicyView, or null */
export function policyText(view: unknown): string {
  if (!isPolicyView(view)) return policyLine(null);
  return [policyLine(view), JSON.stringify(view.document, undefined, 2)].join('\n');
}

const isPolicyView = (view: unknown): view is PolicyView =>
  typeof view === 'object' && view !== null && 'sequence' in view && 'document' in view;

/** One line a peer: how its packets go, and why so. */
function pathText({ sa, noSa, path, underlay }: PeerStatus): string {
  if (sa === null || path === null) return `no SA yet${noSa ? `: ${noSaText(noSa)}` : ''}`;
  const how =
    path.encapsulation === 'esp' ? 'ESP' : `ESP in UDP to ${endpoint(underlay, path.remotePort)}`;
  const lost = path.passes === false ? `; NOTHING ARRIVES: ${blockedText(path)}` : '';
  return `${how}: ${whyText(path)}; ${sa.suite ?? 'suite unknown'}${lost}`;
}

function blockedText({ encapsulation, why }: PathStatus): string {
  if (encapsulation === 'esp') return 'ESP is dropped on the way';
  return why === 'blocked'
    ? 'neither ESP nor ESP in UDP passes'
    : 'ESP in UDP is dropped on the way';
}

function endpoint(address: string | null, port: number | null): string {
  return address?.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function whyText({ why, behindNat: { self, peer } }: PathStatus): string {
  switch (why) {
    case 'direct':
      return 'direct';
    case 'policy':
      return 'as the policy says';
    case 'nat':
      return self && peer ? 'both behind NATs' : `${self ? 'this VM' : 'it'} is behind a NAT`;
    case 'blocked':
      return 'ESP by itself does not pass';
    case 'no-udp':
      return 'no port for ESP in UDP';
  }
}

function superPeerText(status: SuperPeerStatus): string {
  const rows = status.services.map((each) => [
    each.name,
    String(each.members),
    each.policy === null ? 'none' : sequenceText(each.policy),
    each.id,
  ]);
  return [
    `super-peer ${status.peerId} of ${status.overlay.name} at ${status.multiaddrs.join(' ')}`,
    `${status.superPeers.length} other super-peers connected`,
    table(['service', 'members', 'policy', 'ServiceID'], rows),
    ...status.services.flatMap(({ name, duplicates }) =>
      duplicates.map(
        ({ vmid, peerId, places }) =>
          `TWO MACHINES use the key of ${vmid} (${peerId}) of ${name}: ${places.join(' and ')}`,
      ),
    ),
  ].join('\n');
}

/** @param view what the daemon answered: a MemberView */
export function membersText(view: unknown): string {
  if (!isView(view)) return 'no members';
  const rows = view.members.map((each) => [
    each.vmid + (each.self ? ' (this VM)' : ''),
    each.roles.join(','),
    each.ipv4,
    each.ipv6,
    each.subnets.join(','),
    each.peerId,
    each.credentialEnds,
  ]);
  return [
    `${view.service.name}: ${rows.length} members in epoch ${view.epoch}, as ${view.superPeer ?? 'nobody now'} tells`,
    table(['VM', 'roles', 'IPv4', 'IPv6', 'subnets', 'PeerID', 'credential ends'], rows),
  ].join('\n');
}

const isView = (view: unknown): view is MemberView =>
  typeof view === 'object' && view !== null && 'service' in view && 'members' in view;
