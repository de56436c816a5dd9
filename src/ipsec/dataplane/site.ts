/** What is behind this machine, and whether the kernel forwards for it. */
import { readFileSync } from 'node:fs';
import { overlap, parseSubnet } from '../../policy/subnet.ts';
import { notForwarding, overlappingSubnets } from './errors.ts';

export interface Site {
  /** CIDRs; none at a member that is no gateway. */
  readonly subnets: readonly string[];
  /** Names of the interfaces that they are behind. */
  readonly interfaces: readonly string[];
}

const NO_SITE: Site = { subnets: [], interfaces: [] };

export const siteOf = ({ site }: { readonly site?: Site }): Site => site ?? NO_SITE;

/** @throws DataPlaneError `ERR_SUBNET_OVERLAP` if an address is in two subnets, or in one and in a prefix of the service */
export function checkDisjoint({ subnets }: Site, prefixes: readonly string[]): void {
  for (const [i, one] of subnets.entries()) {
    const other = [...subnets.slice(i + 1), ...prefixes].find((each) =>
      overlap(parseSubnet(each), parseSubnet(one)),
    );
    if (other !== undefined) throw overlappingSubnets(one, other);
  }
}

const SWITCHES = {
  ipv4: ['/proc/sys/net/ipv4/ip_forward', 'net.ipv4.ip_forward'],
  ipv6: ['/proc/sys/net/ipv6/conf/all/forwarding', 'net.ipv6.conf.all.forwarding'],
} as const;

/**
 * Forwarding concerns the whole machine, so it is for its operator to turn on.
 *
 * @throws DataPlaneError `ERR_NO_FORWARDING`
 */
export function checkForwarding({ subnets }: Site): void {
  for (const family of ['ipv4', 'ipv6'] as const) {
    if (!subnets.some((each) => each.includes(':') === (family === 'ipv6'))) continue;
    const [path, name] = SWITCHES[family];
    if (read(path).trim() === '0') throw notForwarding(name);
  }
}

/** Not asynchronously: it is of the network namespace of the thread that reads. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '0';
  }
}
