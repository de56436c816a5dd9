import { IcvpnError } from '../../errors.ts';
import type { FirewallError } from '../firewall/errors.ts';

/** The service's guard cannot be in the kernel; without it there is no interface either. */
export class GuardError extends IcvpnError {}

/** What every member needs, with a policy or without. */
export const noGuard = (cause: FirewallError): GuardError =>
  new GuardError(
    cause.code,
    `the guard that keeps packets of the service from leaving in clear cannot be set up: ${cause.message}`,
    cause.code === 'ERR_NFT_MISSING'
      ? cause.remedy
      : 'Run as root, with a kernel that has nf_tables with the inet family, nft_ct and XFRM (CONFIG_NF_TABLES_INET, CONFIG_NFT_CT; Linux 5.7 and newer): modprobe nf_tables nft_ct.',
    { cause },
  );
