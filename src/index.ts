/**
 * @packageDocumentation
 *
 * icvpn as a library: what the `icvpn` command is made of.
 *
 * The nodes, {@link SuperPeer} and {@link Member}, run until they are disposed of. What an owner does
 * ({@link createService}, {@link createTicket}, {@link publishAtAll}) needs no running node.
 *
 * The attribute encryption and the xfrm client are useful by themselves and have entries of their
 * own: `icvpn/abe` and `icvpn/xfrm`.
 *
 * @example
 * ```ts
 * import { Member, readBootstrap } from 'icvpn'
 *
 * await using member = await Member.start({
 *   stateDir: '/var/lib/icvpn/member',
 *   bootstrap: await readBootstrap('shop.json'),
 *   vmid: 'web-1',
 *   roles: ['web'],
 *   listen: ['/ip4/0.0.0.0/tcp/4242'],
 *   announce: [],
 *   interfaceName: 'icvpn0',
 *   log: (event, fields) => console.error(event, fields),
 *   signal: AbortSignal.timeout(60_000),
 * })
 * console.log(await member.status())
 * ```
 */

export type { TcpMultiaddr } from './codec/multiaddr.ts';
export { parseTcpMultiaddr } from './codec/multiaddr.ts';
export type { Delivery, DeliveryOptions } from './daemon/delivery.ts';
export { deliver } from './daemon/delivery.ts';
export type { Log, LogFields } from './daemon/log.ts';
export { createLog } from './daemon/log.ts';
export { MemberError } from './daemon/member/bootstrap.ts';
export type { MemberOptions } from './daemon/member/options.ts';
export { Member } from './daemon/member.ts';
export { OwnerLink } from './daemon/owner-link.ts';
export type { Publication } from './daemon/publish.ts';
export { publishAtAll } from './daemon/publish.ts';
export { makeCard } from './daemon/sealing-key.ts';
export { NodeState } from './daemon/state.ts';
export type {
  MemberStatus,
  PathStatus,
  PeerStatus,
  PolicyStatus,
  PolicyView,
  SaStatus,
} from './daemon/status.ts';
export type { SuperPeerOptions, SuperPeerStatus } from './daemon/super-peer.ts';
export { SuperPeer } from './daemon/super-peer.ts';
export { IcvpnError } from './errors.ts';
export {
  DESCRIPTOR_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
} from './overlay/stored-kinds.ts';
export { readDescriptor, readOwner } from './owner/directory.ts';
export { OwnerError } from './owner/errors.ts';
export { readBootstrap, writeBootstrap } from './owner/files.ts';
export { signPolicy } from './owner/policy.ts';
export { revokeMember, revokeTickets } from './owner/revocation.ts';
export type { NewService, ServiceUpdate, SignedService } from './owner/service.ts';
export { createService, updateService } from './owner/service.ts';
export type { NewTicket } from './owner/ticket.ts';
export { createTicket } from './owner/ticket.ts';
export type { PolicyDocument, PolicyTest, Route, Rule } from './policy/document.ts';
export { readPolicy } from './policy/embedded-tests.ts';
export { PolicyError } from './policy/errors.ts';
export type { Bootstrap, SuperPeerAddress } from './records/bootstrap.ts';
export { formatBootstrap, parseBootstrap } from './records/bootstrap.ts';
export { parsePeerId } from './records/peer-id.ts';
export { openCard } from './records/super-peer-card.ts';
