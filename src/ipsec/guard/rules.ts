/**
 * The guard of one service as text for nft(8): what holds whatever the routes, the policy and other programs say.
 * Nothing here does anything. docs/guard.md draws it.
 *
 * ```
 *  prerouting   a source in the service's prefixes: decrypted, by the interface
 *  input        a destination there: the same, from this machine, or from a subnet behind it
 *  forward      between the interface and the subnets behind it alone, and what the operator forwards by DNAT
 *  postrouting  a source or destination there: to the interface, to an SA, into a subnet behind it
 * ```
 *
 * After routing it asks twice: before addresses are translated, so that no translation hides whose packet it is,
 * and after that, so that none makes one.
 */
import { chain, DROP, interfaces, matches, replacement } from '../firewall/rules.ts';

export interface GuardInput {
  /** Of the service's xfrm interface. */
  readonly interfaceName: string;
  /** Of the xfrm interface; the table is named after it. */
  readonly ifId: number;
  /** CIDRs of the service's virtual addresses, of both families. */
  readonly prefixes: readonly string[];
  /** CIDRs behind this machine; none at a member that is no gateway. */
  readonly subnets: readonly string[];
  /** The interfaces that those are behind. */
  readonly subnetInterfaces: readonly string[];
}

export const guardTable = (ifId: number): string =>
  `icvpn_guard_${ifId.toString(16).padStart(8, '0')}`;

/** @returns what replaces the guard, in one transaction. @throws FirewallError `ERR_FIREWALL_INPUT`; AddressError */
export function guardRules(input: GuardInput): string {
  const { interfaceName, prefixes, subnets } = input;
  const tunnel = interfaces('interfaceName', [interfaceName]);
  const inside = interfaces('interfaceName', ['lo', interfaceName]);
  const gateway = subnets.length > 0;
  const site = gateway ? interfaces('subnetInterfaces', input.subnetInterfaces) : '';
  const between = (end: 'saddr' | 'daddr', first: string): string[] =>
    gateway ? matches(end, subnets).map((each) => `${first} ${each} accept`) : [];
  const from = matches('saddr', prefixes).map((each) => `${each} ${DROP}`);
  const to = matches('daddr', prefixes).map((each) => `${each} ${DROP}`);
  const own = `iifname ${tunnel} meta secpath exists`;
  return replacement(guardTable(input.ifId), [
    chain('leaving', [
      `oifname ${inside} accept`,
      'rt ipsec exists accept',
      `iifname ${tunnel} ct status dnat accept`,
      ...between('daddr', `oifname ${site}`),
      ...from,
      ...to,
    ]),
    chain('before_nat', [hook('postrouting', 'raw'), 'jump leaving']),
    chain('after_nat', [hook('postrouting', 'srcnat + 100'), 'jump leaving']),
    chain('arriving', [
      hook('prerouting', 'raw'),
      'iifname "lo" accept',
      `${own} accept`,
      `iifname ${tunnel} ${DROP}`,
      ...from,
    ]),
    chain('input', [
      hook('input', 'filter + 10'),
      `iifname ${inside} accept`,
      ...between('saddr', `iifname ${site}`),
      ...to,
    ]),
    chain('forward', [
      hook('forward', 'filter + 10'),
      ...between('daddr', `${own} oifname ${site}`),
      ...between('saddr', `oifname ${tunnel} iifname ${site}`),
      `${own} ct status dnat accept`,
      `oifname ${tunnel} ct status dnat ct direction reply accept`,
      `iifname ${tunnel} ${DROP}`,
      `oifname ${tunnel} ${DROP}`,
      ...from,
      ...to,
    ]),
  ]);
}

const hook = (name: string, priority: string): string =>
  `type filter hook ${name} priority ${priority}; policy accept;`;
