/** The subnets behind this member: its credential must say that the owner lets it announce them. */
import { IcvpnError } from '../errors.ts';
import type { PolicyDocument } from '../policy/document.ts';
import { permittedSubnets } from '../policy/evaluate.ts';
import type { Credential } from '../records/credential.ts';
import { policyMember } from './policy.ts';
import { type RenewalWish, renewAtAny } from './renew.ts';
import type { Standing } from './standing.ts';

export class SubnetRefusedError extends IcvpnError {
  constructor({ vmid, peerId }: Pick<Credential, 'vmid' | 'peerId'>, subnets: readonly string[]) {
    const route = JSON.stringify({ gateway: `peer:${peerId}`, subnets });
    super(
      'ERR_SUBNET_NOT_ALLOWED',
      `the service's policy does not let ${vmid} announce ${subnets.join(', ')}`,
      `its owner must add ${route} to the routes of the policy and publish it (icvpn policy publish); a gateway that is named by VMID or role must be admitted by a ticket for these`,
    );
  }
}

/**
 * Renews the credential if it is for other subnets than these.
 *
 * @throws SubnetRefusedError, SuperPeersError
 */
export async function announced(
  standing: Standing,
  wish: RenewalWish & { readonly subnets: readonly string[] },
  signal: AbortSignal,
): Promise<Standing> {
  const { subnets } = wish;
  if (missing(standing, subnets).length === 0 && extra(standing, subnets).length === 0) {
    return standing;
  }
  const renewed = await renewAtAny(standing, wish, signal);
  standing.epochPsk.fill(0);
  const refused = missing(renewed, subnets);
  if (refused.length === 0) return renewed;
  throw new SubnetRefusedError(renewed.credential.value, refused);
}

/** Those of the subnets that the credential does not name. */
export function missing({ credential }: Standing, subnets: readonly string[]): string[] {
  return subnets.filter((each) => !credential.value.subnets.includes(each));
}

/** Those that the credential does not name though the policy would let it. */
export function lacking(
  standing: Standing,
  subnets: readonly string[],
  policy: PolicyDocument | undefined,
): string[] {
  const wanted = {
    ...policyMember(standing.credential.value),
    subnets: missing(standing, subnets),
  };
  return permittedSubnets(policy, wanted);
}

const extra = ({ credential }: Standing, subnets: readonly string[]): string[] =>
  credential.value.subnets.filter((each) => !subnets.includes(each));
