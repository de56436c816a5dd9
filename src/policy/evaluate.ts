/**
 * What a policy comes to for one member.
 *
 * ```
 *  rule  from ─────────▶ to         destination chosen by `to`        source chosen by `from`
 *   (1)  member, subnet ─▶ self      own virtual addresses             others' addresses, subnets
 *   (2)  member, subnet ─▶ own subnet   the subnet behind this gateway     the same
 *   (3)  own subnet ─▶ member, subnet   others' addresses, subnets     the subnet behind this gateway
 * ```
 *
 * (1) is enforced by whom the packet is for, (2) and (3) by the gateway that forwards it. A subnet
 * counts only as far as a gateway that the service knows has announced it and `routes` lets it: by its PeerID, or by a
 * VMID or role that the owner vouched for. Any VM with the service's secret could take a gateway's network else.
 */
import type { PolicyDocument, Rule } from './document.ts';
import type { Grant } from './grant.ts';
import { includes } from './ports.ts';
import {
  formatSelector,
  type Selector,
  selects,
  selectsVouched,
  type VouchedAttributes,
} from './selector.ts';
import { covers, intersection, parseSubnet, type Subnet } from './subnet.ts';

/** A member as others know it. */
export interface PolicyMember extends VouchedAttributes {
  /** Virtual addresses. */
  readonly ipv4: string;
  readonly ipv6: string;
  /** CIDRs that it announced in its credential. */
  readonly subnets: readonly string[];
}

/** Where a policy is evaluated. */
export interface PolicyView {
  readonly self: PolicyMember;
  /** All members that are known; whether `self` is among them plays no part. */
  readonly members: readonly PolicyMember[];
  /** CIDRs of all virtual addresses of the service: what `*` stands for. */
  readonly prefixes: readonly string[];
}

/**
 * The subnets that a member may announce.
 *
 * @returns CIDRs: none without a policy
 */
export function allowedSubnets(
  document: PolicyDocument | undefined,
  member: VouchedAttributes,
): string[] {
  return allowedBlocks(document, member).map(({ text }) => text);
}

function allowedBlocks(document: PolicyDocument | undefined, member: VouchedAttributes): Subnet[] {
  const routes = document?.routes ?? [];
  return routes
    .filter(({ gateway }) => selectsVouched(gateway, member))
    .flatMap((each) => each.subnets);
}

/** Of what a member announces, what the policy lets it: each whole block or not at all. */
export function permittedSubnets(
  document: PolicyDocument | undefined,
  member: PolicyMember,
): string[] {
  return permittedBlocks(document, member).map(({ text }) => text);
}

function permittedBlocks(document: PolicyDocument | undefined, member: PolicyMember): Subnet[] {
  if (member.subnets.length === 0) return [];
  const allowed = allowedBlocks(document, member);
  return member.subnets
    .map(parseSubnet)
    .filter((block) => allowed.some((each) => covers(each, block)));
}

/**
 * What one member has to let in, and what to forward as a gateway.
 *
 * @returns `all` when the policy has no rules; else what alone may pass
 */
export function evaluate(
  document: PolicyDocument | undefined,
  view: PolicyView,
): readonly Grant[] | 'all' {
  if (document?.rules === undefined) return 'all';
  const parties = new Parties(document, view);
  const grants = new Map<string, Grant>();
  for (const rule of document.rules) {
    for (const [way, grant] of grantsOf(rule, parties, view.self)) {
      if (grant.sources.length === 0 || grant.destinations.length === 0) continue;
      // Rules for the same ends become one grant.
      const ends = `${way} ${keyOf(rule.from)} ${keyOf(rule.to)}`;
      const before = grants.get(ends)?.ports ?? [];
      const fresh = grant.ports.filter((each) => !before.some((known) => includes(known, each)));
      grants.set(ends, { ...grant, ports: [...before, ...fresh] });
    }
  }
  return [...grants.values()];
}

const keyOf = (selectors: readonly Selector[]): string => selectors.map(formatSelector).join();

function* grantsOf(
  { from, to, ports }: Rule,
  parties: Parties,
  self: PolicyMember,
): Iterable<['in' | 'out', Grant]> {
  const hosts = to.some((each) => selects(each, self)) ? hostsOf(self) : [];
  const inward = [...hosts, ...parties.ownSubnets(to)];
  if (inward.length > 0)
    yield ['in', { sources: parties.others(from), destinations: inward, ports }];
  const outward = parties.ownSubnets(from);
  if (outward.length > 0)
    yield ['out', { sources: outward, destinations: parties.others(to), ports }];
}

/** The addresses behind selectors, as far as this member knows them. */
class Parties {
  readonly #view: PolicyView;
  readonly #byAttribute = new Map<string, PolicyMember[]>();
  readonly #own: readonly Subnet[];
  /** Of the other members. */
  readonly #subnets: readonly Subnet[];
  readonly #found = new Map<string, readonly string[]>();

  constructor(document: PolicyDocument, view: PolicyView) {
    this.#view = view;
    const others = view.members.filter(({ peerId }) => peerId !== view.self.peerId);
    for (const member of others) {
      const names = member.roles.map((role) => `role:${role}`);
      for (const name of new Set([...names, `vmid:${member.vmid}`, `peer:${member.peerId}`])) {
        const known = this.#byAttribute.get(name);
        if (known) known.push(member);
        else this.#byAttribute.set(name, [member]);
      }
    }
    this.#own = permittedBlocks(document, view.self);
    this.#subnets = others.flatMap((each) => permittedBlocks(document, each));
  }

  /** @returns CIDRs, sorted, of the other members and their subnets */
  others(selectors: readonly Selector[]): readonly string[] {
    const key = keyOf(selectors);
    const known = this.#found.get(key);
    if (known) return known;
    const found = [...new Set(selectors.flatMap((each) => this.#other(each)))].sort();
    this.#found.set(key, found);
    return found;
  }

  #other(selector: Selector): readonly string[] {
    if (selector.kind === 'everybody') return this.#view.prefixes;
    if (selector.kind === 'subnet') return parts(this.#subnets, selector.subnet);
    const members = this.#byAttribute.get(`${selector.kind}:${selector.name}`) ?? [];
    return members.flatMap(hostsOf);
  }

  /** @returns CIDRs of what lies behind this member itself */
  ownSubnets(selectors: readonly Selector[]): string[] {
    const found = selectors.flatMap((each) =>
      each.kind === 'subnet' ? parts(this.#own, each.subnet) : [],
    );
    return [...new Set(found)].sort();
  }
}

const parts = (blocks: readonly Subnet[], wanted: Subnet): string[] =>
  blocks.flatMap((block) => intersection(block, wanted)?.text ?? []);

const hostsOf = ({ ipv4, ipv6 }: PolicyMember): string[] => [`${ipv4}/32`, `${ipv6}/128`];
