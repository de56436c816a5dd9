/** Puts together what `icvpn status`, `icvpn members` and `icvpn policy show` show at a member. */
import { ipsOf } from '../codec/multiaddr.ts';
import type { DataPlane } from '../ipsec/dataplane.ts';
import type { DirectoryClient } from '../overlay/directory-client.ts';
import type { Host } from '../overlay/host.ts';
import type { Member as Listed } from '../overlay/membership.ts';
import type { Credential } from '../records/credential.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import type { PolicyRecord } from '../records/policy-record.ts';
import type { AddressWatch } from './address-watch.ts';
import type { Peer, Peers } from './peers.ts';
import type { PolicyEnforcement } from './policy.ts';
import type { Roster } from './roster.ts';
import type { MemberStatus, MemberView, PeerStatus, PolicyView, SaStatus } from './status.ts';

export interface StatusSources {
  /** Why the credential is not renewed, where that was tried and failed. */
  readonly renewalProblem: string | undefined;
  readonly revoked: boolean;
  readonly host: Host;
  readonly service: ServiceDescriptor;
  readonly credential: Opened<Credential>;
  readonly dataPlane: DataPlane;
  readonly directory: Pick<DirectoryClient, 'members' | 'superPeer' | 'problem' | 'duplicate'>;
  readonly roster: Roster;
  readonly peers: Peers;
  readonly policy: PolicyEnforcement;
  readonly interfaceName: string;
  readonly addresses: Pick<AddressWatch, 'conflicts'>;
}

/** @param now seconds since 1970 */
export function waitsFor(
  {
    credential,
    directory,
    renewalProblem,
  }: Pick<StatusSources, 'credential' | 'directory' | 'renewalProblem'>,
  now: number,
): string | undefined {
  const { notAfter } = credential.value;
  if (notAfter <= now) {
    const why = renewalProblem ?? directory.problem ?? 'none has answered yet';
    return `its credential ended at ${new Date(notAfter * 1000).toISOString()}: waits for a super-peer to renew it (${why})`;
  }
  if (directory.superPeer !== undefined) return undefined;
  return `waits for a super-peer of the service (${directory.problem ?? 'none has answered yet'})`;
}

type Counters = Awaited<ReturnType<DataPlane['counters']>>;

export async function memberStatus(from: StatusSources): Promise<MemberStatus> {
  const { serviceId, name } = from.service;
  const { value: me } = from.credential;
  const counters = await from.dataPlane.counters();
  return {
    role: 'member',
    service: { id: serviceId.toString(), name },
    peerId: me.peerId.toString(),
    vmid: me.vmid,
    ipv6: me.ipv6,
    ipv4: me.ipv4,
    interface: from.interfaceName,
    epoch: me.epoch,
    credentialEnds: new Date(me.notAfter * 1000).toISOString(),
    revoked: from.revoked,
    superPeer: from.directory.superPeer?.toString() ?? null,
    waiting: waitsFor(from, Date.now() / 1000) ?? null,
    duplicate: from.directory.duplicate ?? null,
    kernelProblem: from.dataPlane.unsound?.message ?? null,
    packetsWait: from.dataPlane.packetsWait,
    rulesAbove: from.dataPlane.conflicts,
    admittedBy: me.admittedBy.toString(),
    policy: from.policy.status() ?? null,
    overlaps: await from.dataPlane.overlaps(),
    conflicts: from.addresses.conflicts.map(({ ipv4, holder, refused }) => ({
      ...{ ipv4, holder: holder.toString(), refused: refused.toString() },
    })),
    subnetConflicts: from.peers.subnetConflicts,
    members: from.roster
      .members()
      .map((each) => peerStatus(each, each.peerId.equals(me.peerId), from, counters))
      .sort((a, b) => (a.vmid < b.vmid ? -1 : 1)),
  };
}

function peerStatus(
  member: Listed,
  self: boolean,
  { peers, host, roster }: StatusSources,
  counters: Counters,
): PeerStatus {
  const peer = peers.get(member.peerId);
  const sa = peer ? saStatus(peer, counters) : null;
  const underlay = self ? ipsOf(host.multiaddrs())[0] : peer?.underlay;
  return {
    peerId: member.peerId.toString(),
    vmid: member.vmid,
    roles: member.roles,
    ipv6: member.ipv6,
    ipv4: member.ipv4,
    subnets: self ? member.subnets : (peer?.subnets ?? []),
    self,
    listed: roster.lists(member),
    underlay: underlay ?? null,
    path: peer?.path ?? null,
    sa,
    noSa: self || sa !== null ? null : peers.whyNoSa(member),
  };
}

function saStatus({ spis, suite }: Peer, counters: Counters): SaStatus | null {
  const find = (spi: number | undefined) => counters.find((each) => each.spi === spi);
  const [inbound, outbound] = [find(spis?.inboundSpi), find(spis?.outboundSpi)];
  if (inbound === undefined || outbound === undefined) return null;
  return {
    spiIn: spiText(inbound.spi),
    spiOut: spiText(outbound.spi),
    packetsIn: Number(inbound.packets),
    packetsOut: Number(outbound.packets),
    bytesIn: Number(inbound.bytes),
    bytesOut: Number(outbound.bytes),
    suite: suite ?? null,
  };
}

const spiText = (spi: number): string => `0x${spi.toString(16).padStart(8, '0')}`;

/** @param me of this member */
export function memberView(
  { serviceId, name }: ServiceDescriptor,
  directory: DirectoryClient,
  me: Credential,
): MemberView {
  return {
    service: { id: serviceId.toString(), name },
    epoch: me.epoch,
    superPeer: directory.superPeer?.toString() ?? null,
    members: directory
      .members()
      .map((each) => ({
        vmid: each.vmid,
        peerId: each.peerId.toString(),
        roles: each.roles,
        ipv6: each.ipv6,
        ipv4: each.ipv4,
        subnets: each.subnets,
        multiaddrs: each.multiaddrs,
        credentialEnds: new Date(each.notAfter * 1000).toISOString(),
        self: each.peerId.equals(me.peerId),
      }))
      .sort((a, b) => (a.vmid < b.vmid ? -1 : 1)),
  };
}

/** @param record the newest that is known */
export function policyView(
  enforcement: PolicyEnforcement,
  record: PolicyRecord | undefined,
): PolicyView | undefined {
  const status = enforcement.status();
  if (status === undefined || record === undefined) return undefined;
  return { ...status, document: JSON.parse(new TextDecoder().decode(record.document)) };
}
