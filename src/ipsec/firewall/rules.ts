/**
 * The rule set of one service on one machine, as text for nft(8). Nothing here does anything.
 *
 * ```
 *    peers ══ESP══▶ icvpn0 ──▶ input ────────▶ this machine's virtual addresses
 *                     │  ▲
 *                     ▼  │ forward
 *                  subnet's interface ──▶ hosts behind this gateway, and nowhere else
 *                     ▲
 *                     │ answers, port forwards
 *                  whatever else the machine routes
 * ```
 *
 * What comes out of the service's interface was decrypted by an SA of this service, which the rules
 * ask for once more, and may go to this machine and to the interfaces of its own subnets. What goes in
 * comes from this machine and from those. Whatever else would cross, another service's packets
 * above all, is dropped, whether there is a policy or not. Into the subnets comes from elsewhere, be it another
 * service's site, only what answers and what the machine's operator forwards by DNAT, and nothing that claims to be a peer.
 *
 * A connection is looked at in the direction in which it was begun, and that for each packet: what
 * the policy no longer grants ends at once. Answers pass as long as the connection is known.
 */
import type { Grant, Ports } from '../../policy/grant.ts';
import { blocksOf, FAMILIES, type Family } from './blocks.ts';
import { badInput } from './errors.ts';

export interface FirewallInput {
  /** Of the service's xfrm interface. */
  readonly interfaceName: string;
  /** Of the xfrm interface; the table is named after it. */
  readonly ifId: number;
  /** This machine's own virtual addresses, as CIDRs. */
  readonly local: readonly string[];
  /** CIDRs behind this gateway that it may announce. */
  readonly subnets: readonly string[];
  /** CIDRs behind it, also while it may announce none of them. */
  readonly site: readonly string[];
  /** The interfaces of the networks behind it, also while it may announce none; none at a member that is no gateway. */
  readonly subnetInterfaces: readonly string[];
  /** CIDRs of the service's virtual addresses and of the subnets behind other gateways. */
  readonly remotes: readonly string[];
  /** What may be begun. `all`: whatever the members like. */
  readonly grants: readonly Grant[] | 'all';
}

/** Whether there is anything to enforce: a member that is no gateway, without a policy, needs no rules. */
export const isNeeded = ({ grants, subnetInterfaces }: FirewallInput): boolean =>
  grants !== 'all' || subnetInterfaces.length > 0;

export const tableName = (ifId: number): string => `icvpn_${ifId.toString(16).padStart(8, '0')}`;

/** Takes the table away, if it is there. */
export const removal = (table: string): string =>
  `table inet ${table}\ndelete table inet ${table}\n`;

/** What shows whether the kernel can keep connections of several services apart by zones. */
export const ZONE_PROBE =
  'table inet icvpn_probe { chain zone { type filter hook output priority raw; ct zone set 1; }; }\n';

/**
 * @param zones whether connections of this service are tracked apart from all others, so that two services whose
 * addresses are the same at both ends do not share them
 * @returns what replaces the table by another, in one transaction
 * @throws FirewallError `ERR_FIREWALL_INPUT`, AddressError
 */
export function ruleSet(input: FirewallInput, zones: boolean): string {
  const tunnel = interfaces('interfaceName', [input.interfaceName]);
  const site = interfaces('subnetInterfaces', input.subnetInterfaces);
  const gateway = input.subnets.length > 0;
  if (gateway && input.subnetInterfaces.length === 0) {
    throw badInput('subnetInterfaces', 'the interfaces of the subnets');
  }
  const chains = [
    chain('granted', granted(input.grants)),
    chain('to_me', [...answers, 'jump granted', DROP]),
    chain(
      'from_peers',
      gateway ? [`oifname != ${site} ${DROP}`, ...passing(input, 'daddr')] : [DROP],
    ),
    chain(
      'to_peers',
      gateway ? [`iifname != ${site} ${DROP}`, ...passing(input, 'saddr')] : [DROP],
    ),
    ...(input.site.length > 0 ? [chain('into_site', intoSite(input))] : []),
    chain('input', [
      hook('input', 'filter'),
      `iifname ${tunnel} meta secpath missing ${DROP}`,
      ...reachable(input).map((daddr) => `iifname ${tunnel} ${daddr} jump to_me`),
      `iifname ${tunnel} ${DROP}`,
      ...pretenders(input, tunnel),
    ]),
    chain('forward', [
      hook('forward', 'filter'),
      `iifname ${tunnel} meta secpath missing ${DROP}`,
      ...(gateway ? clamps(tunnel) : []),
      `iifname ${tunnel} jump from_peers`,
      `oifname ${tunnel} jump to_peers`,
      ...fromElsewhere(input),
    ]),
    ...(zones ? zoneChains(input, tunnel, site) : []),
  ];
  return replacement(tableName(input.ifId), chains);
}

export const DROP = 'counter drop';

/** What replaces a table by one of these chains, in one transaction. */
export const replacement = (table: string, chains: readonly string[]): string =>
  `${removal(table)}table inet ${table} {\n${chains.join('')}}\n`;

/**
 * Hosts behind a gateway do not know what the tunnel takes, and where ICMP is dropped on their side nobody
 * can tell them. So each end of a TCP connection is told in the SYN of the other: the least that routes
 * towards either take (RFC 9293, section 3.7.1). It is never raised.
 */
const clamps = (tunnel: string): string[] =>
  ['iifname', 'oifname'].map(
    (direction) =>
      `${direction} ${tunnel} tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu`,
  );

/** An error about a known connection is part of it. */
const answers = [
  'ct state established ct direction reply counter accept',
  'ct state related counter accept',
];

export const chain = (name: string, rules: readonly string[]): string =>
  `  chain ${name} {\n${rules.map((rule) => `    ${rule}\n`).join('')}  }\n`;

const hook = (name: string, priority: 'filter' | 'raw'): string =>
  `type filter hook ${name} priority ${priority}; policy accept;`;

function granted(grants: readonly Grant[] | 'all'): string[] {
  if (grants === 'all') return ['counter accept'];
  return grants.flatMap(({ sources, destinations, ports }) =>
    families.flatMap((family) => {
      const ends = [match(family, 'saddr', sources), match(family, 'daddr', destinations)] as const;
      if (ends.includes(undefined)) return [];
      return services(ports, family).map((each) => `${ends.join(' ')} ${each}counter accept`);
    }),
  );
}

const families: readonly Family[] = ['ip', 'ip6'];

function match(
  family: Family,
  end: 'saddr' | 'daddr',
  cidrs: readonly string[],
): string | undefined {
  const blocks = blocksOf(cidrs, family);
  return blocks.length === 0 ? undefined : `${family} ${end} ${set(blocks)}`;
}

/** One for each family of which there are some. */
export const matches = (end: 'saddr' | 'daddr', cidrs: readonly string[]): string[] =>
  families.flatMap((family) => match(family, end, cidrs) ?? []);

const set = (elements: readonly (string | number)[]): string => `{ ${elements.join(', ')} }`;

/** One match a protocol, each ending in a blank; none at all for any protocol. */
function services(ports: readonly Ports[], family: Family): string[] {
  if (ports.some(({ protocol }) => protocol === 'any')) return [''];
  const icmp = ports.some(({ protocol }) => protocol === 'icmp');
  const name = FAMILIES[family] === 32 ? 'icmp' : 'ipv6-icmp';
  return [
    ...(icmp ? [`meta l4proto ${name} `] : []),
    ...(['tcp', 'udp'] as const).flatMap((protocol) => {
      const ranges = merge(
        ports.flatMap((each) => (each.protocol === protocol ? [[each.first, each.last]] : [])),
      );
      const texts = ranges.map(([first, last]) => (first === last ? first : `${first}-${last}`));
      return texts.length > 0 ? [`${protocol} dport ${set(texts)} `] : [];
    }),
  ];
}

type Range = readonly [first: number, last: number];

/** Ranges that touch or overlap become one. */
function merge(ranges: readonly Range[]): Range[] {
  const merged: Range[] = [];
  for (const [first, last] of ranges.toSorted(([a], [b]) => a - b)) {
    const before = merged.at(-1);
    if (before !== undefined && first <= before[1] + 1) {
      merged.splice(-1, 1, [before[0], Math.max(before[1], last)]);
    } else merged.push([first, last]);
  }
  return merged;
}

/** Between the subnets and peers: as granted, and what answers. */
const passing = ({ subnets }: FirewallInput, end: 'saddr' | 'daddr'): string[] => [
  ...families.flatMap((family) => {
    const behind = match(family, end, subnets);
    if (behind === undefined) return [];
    return [...answers.map((rule) => `${behind} ${rule}`), `${behind} jump granted`];
  }),
  DROP,
];

/** What would enter the subnets neither out of the tunnel nor by their own interfaces. */
function fromElsewhere({ interfaceName, site, subnetInterfaces }: FirewallInput): string[] {
  const own = interfaces('subnetInterfaces', [interfaceName, ...subnetInterfaces]);
  const into = interfaces('subnetInterfaces', subnetInterfaces);
  return matches('daddr', site).map(
    (daddr) => `iifname != ${own} oifname ${into} ${daddr} jump into_site`,
  );
}

/** Peers come out of the tunnel only. */
function intoSite({ remotes }: FirewallInput): string[] {
  const peers = matches('saddr', remotes).map((saddr) => `${saddr} ${DROP}`);
  return [...peers, ...answers, 'ct status dnat counter accept', DROP];
}

/** What of this machine is for peers: its virtual addresses, and its own in the subnets behind it. */
const reachable = ({ local, subnets }: FirewallInput): string[] =>
  matches('daddr', [...local, ...subnets]);

/** Nobody but this machine, its subnets and peers, through their SAs, reaches a virtual address. */
function pretenders(input: FirewallInput, tunnel: string): string[] {
  return families.flatMap((family) => {
    const local = match(family, 'daddr', input.local);
    if (local === undefined) return [];
    const source = match(family, 'saddr', input.subnets);
    const site = interfaces('subnetInterfaces', input.subnetInterfaces);
    const own = source === undefined ? [] : [`iifname ${site} ${source} ${local} jump to_me`];
    return [...own, `iifname != { "lo", ${tunnel.slice(2, -2)} } ${local} ${DROP}`];
  });
}

function zoneChains(input: FirewallInput, tunnel: string, site: string): string[] {
  const zone = `ct zone set ${input.ifId & 0xffff || 1}`;
  const crossing = families.flatMap((family) => {
    const [source, remote] = [
      match(family, 'saddr', input.subnets),
      match(family, 'daddr', input.remotes),
    ];
    if (source === undefined || remote === undefined) return [];
    const own = blocksOf(input.local, family);
    const notMe = own.length > 0 ? `${family} daddr != ${set(own)} ` : '';
    return [`iifname ${site} ${source} ${notMe}${remote} ${zone}`];
  });
  return [
    chain('zone_in', [hook('prerouting', 'raw'), `iifname ${tunnel} ${zone}`, ...crossing]),
    chain('zone_out', [hook('output', 'raw'), `oifname ${tunnel} ${zone}`]),
  ];
}

/** As a set of quoted names. @throws FirewallError for a name that no interface can have */
export function interfaces(field: string, names: readonly string[]): string {
  for (const name of names) {
    if (!/^[A-Za-z0-9_.-]{1,15}$/.test(name)) {
      throw badInput(field, 'names of 1 to 15 letters, digits, dots, hyphens or underscores');
    }
  }
  return set([...new Set(names)].map((name) => `"${name}"`));
}
