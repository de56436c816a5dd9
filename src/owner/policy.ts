/** The owner's policy: checked, signed, and kept beside the descriptor. */

import { readPolicy } from '../policy/embedded-tests.ts';
import { checkRoutes } from '../policy/routes.ts';
import { type Opened, open, seal } from '../records/envelope.ts';
import { POLICY, type PolicyRecord } from '../records/policy-record.ts';
import { virtualPrefixes } from '../records/virtual-address.ts';
import { type ActOptions, act } from './act.ts';
import { nextSequence } from './review.ts';

export interface SignPolicyOptions extends ActOptions {
  /** JSON, UTF-8. */
  readonly document: Uint8Array;
}

/**
 * Signs a policy document as the service's newest.
 *
 * @returns the record, to be published
 * @throws PolicyError when it cannot be read, its tests fail, or it routes the service's own addresses
 */
export async function signPolicy(options: SignPolicyOptions): Promise<Opened<PolicyRecord>> {
  const { document } = options;
  const parsed = readPolicy(document);
  return await act('icvpn policy publish', options, async ({ state, floors }) => {
    const { serviceId, ipv4Prefix } = state.descriptor.value;
    checkRoutes(parsed, virtualPrefixes(serviceId, ipv4Prefix));
    const record = { serviceId, sequence: nextSequence(floors.policy), document };
    const policy = await open(POLICY, await seal(POLICY, record, state.key));
    return { state: { ...state, policy }, result: policy };
  });
}
