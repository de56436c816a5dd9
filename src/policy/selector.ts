/**
 * Who a rule is for: `role:web`, `vmid:db-1`, `peer:12D3KooW…`, `subnet:10.20.0.0/16`, or `*`, which
 * is every member, and no subnet.
 */
import { AddressError } from '../codec/ip.ts';
import { fieldError, quoted } from './errors.ts';
import type { Reader } from './fields.ts';
import { overlap, parseSubnet, type Subnet } from './subnet.ts';

/** What members have that a selector can name. */
export interface Attributes {
  readonly peerId: string;
  readonly vmid: string;
  readonly roles: readonly string[];
}

/** Of what a member says of itself, what the service's owner has said by a ticket; `undefined`: nothing. */
export type Vouched = 'roles' | 'vmid-and-roles';

export interface VouchedAttributes extends Attributes {
  readonly vouched: Vouched | undefined;
}

export type MemberSelector =
  | { readonly kind: 'everybody' }
  | { readonly kind: 'role' | 'vmid' | 'peer'; readonly name: string };

export type SubnetSelector = { readonly kind: 'subnet'; readonly subnet: Subnet };

export type Selector = MemberSelector | SubnetSelector;

/** As long as credentials allow. */
const LONGEST = { role: 64, vmid: 128, peer: 52 };
/** PeerIDs of Ed25519 keys, in base58. */
const PEER_ID = /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/;
const REMEDY = 'write role:NAME, vmid:NAME, peer:12D3KooW…, subnet:CIDR or *';

export const readSelector: Reader<Selector> = (value, path) => {
  if (value === '*') return { kind: 'everybody' };
  if (typeof value !== 'string') throw fieldError(path, `${quoted(value)} is not text`, REMEDY);
  const colon = value.indexOf(':');
  const name = value.slice(colon + 1);
  const kind = value.slice(0, Math.max(colon, 0));
  if (kind === 'subnet') return { kind, subnet: readSubnet(name, path) };
  if (kind !== 'role' && kind !== 'vmid' && kind !== 'peer') {
    throw fieldError(path, `${quoted(value)} selects nobody`, REMEDY);
  }
  if (name.includes('*')) {
    throw fieldError(path, `${quoted(value)} is a pattern`, 'name one, or write * for everybody');
  }
  if (name === '' || name !== name.trim() || name.length > LONGEST[kind]) {
    throw fieldError(path, `${quoted(value)} can be no ${kind}`, REMEDY);
  }
  if (kind === 'peer' && !PEER_ID.test(name)) {
    throw fieldError(path, `${quoted(value)} is no PeerID`, 'copy it from icvpn members');
  }
  return { kind, name };
};

/** A selector of members only, and not of all: a gateway. */
export const readGateway: Reader<MemberSelector> = (value, path) => {
  const selector = readSelector(value, path);
  if (selector.kind !== 'subnet' && selector.kind !== 'everybody') return selector;
  const remedy = 'write role:NAME, vmid:NAME or peer:12D3KooW…';
  throw fieldError(path, `${quoted(value)} is no gateway`, remedy);
};

/** Addresses that lie behind no gateway: every node has its own, or they are not one host's. */
const NOT_ROUTED = [
  ...['127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'],
  ...['::/127', 'fe80::/10', 'ff00::/8'],
].map(parseSubnet);

/** An address block behind a gateway. */
export const readRoutedSubnet: Reader<Subnet> = (value, path) => {
  const subnet = readSubnet(value, path);
  const clash = NOT_ROUTED.find((each) => overlap(each, subnet));
  if (clash === undefined) return subnet;
  const reason = `${subnet.text} holds addresses of ${clash.text}, which cannot be routed`;
  throw fieldError(path, reason, 'name the networks that are behind the gateway one by one');
};

const readSubnet: Reader<Subnet> = (value, path) => {
  try {
    return parseSubnet(String(value));
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    throw fieldError(
      path,
      `${quoted(value)} is no address block`,
      'write one such as 10.20.0.0/16',
    );
  }
};

/** Whether a selector names a member. */
export function selects(selector: Selector, member: Attributes): boolean {
  switch (selector.kind) {
    case 'everybody':
      return true;
    case 'role':
      return member.roles.includes(selector.name);
    case 'vmid':
      return member.vmid === selector.name;
    case 'peer':
      return member.peerId === selector.name;
    case 'subnet':
      return false;
  }
}

/** Whether a selector names a member by its PeerID, which is proved, or by what the owner vouched for. */
export function selectsVouched(selector: MemberSelector, member: VouchedAttributes): boolean {
  const { vouched } = member;
  if (selector.kind === 'role' && vouched === undefined) return false;
  if (selector.kind === 'vmid' && vouched !== 'vmid-and-roles') return false;
  return selects(selector, member);
}

export function formatSelector(selector: Selector): string {
  if (selector.kind === 'everybody') return '*';
  if (selector.kind === 'subnet') return `subnet:${selector.subnet.text}`;
  return `${selector.kind}:${selector.name}`;
}
