/** What two peers agreed on, as limits of SAs in the kernel. */
import { softLimits } from '../../ipsec/lifecycle/limits.ts';
import type { Timing } from '../../ipsec/lifecycle/timing.ts';
import type { Lifetime, Limit } from '../../ipsec/xfrm/lifetime.ts';
import type { Lifetimes } from '../../keymgmt/exchange/suite.ts';

/** The kernel counts from the begin of the second in which the SA was added, so up to one too few. */
const ROUNDING_SECONDS = 1;

/**
 * Soft limits lie where the life cycle's own do, drawn separately. By time an inbound SA lives longer
 * than the agreement, since it must outlive every packet that the peer may still send on it: an
 * outbound SA is what ends the use of a key.
 *
 * @param random from 0 to below 1
 */
export function kernelLifetime(
  limits: Lifetimes,
  direction: 'in' | 'out',
  timing: Timing,
  random: number,
): Lifetime {
  const soft = softLimits(limits, 0, timing, random);
  const extra = direction === 'in' ? Math.ceil(timing.overlap / 1000) : 0;
  const limit = (at: bigint, hard: number): Limit => ({ soft: at, hard: BigInt(hard) });
  return {
    seconds: limit(BigInt(Math.ceil(soft.at / 1000)), limits.seconds + ROUNDING_SECONDS + extra),
    bytes: limit(soft.bytes, limits.bytes),
    packets: limit(soft.packets, limits.packets),
  };
}
