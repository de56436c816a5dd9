import { IcvpnError } from '../../errors.ts';

/** The firewall of a service cannot be what it has to be; what was there before is still there. */
export class FirewallError extends IcvpnError {}

export const nftMissing = (cause: unknown): FirewallError =>
  new FirewallError(
    'ERR_NFT_MISSING',
    'the program nft is not there',
    'Install nftables (Debian, Ubuntu: apt-get install nftables).',
    { cause },
  );

export const nftRefused = (said: string): FirewallError =>
  new FirewallError(
    'ERR_NFT_REFUSED',
    `nft refused the rules: ${said}`,
    'Run as root, with a kernel that has nf_tables, nft_ct and nft_xfrm (Linux 5.7 and newer).',
  );

export const badInput = (field: string, expected: string): FirewallError =>
  new FirewallError(
    'ERR_FIREWALL_INPUT',
    `${field} must be ${expected}`,
    `Pass ${expected} as ${field}.`,
  );
