import type { SaLimits, SaUsage } from './events.ts';
import type { Timing } from './timing.ts';

/** Where rekeying starts: soft limits, the same part of each hard one. */
export interface SoftLimits {
  /** Milliseconds on the caller's clock. */
  readonly at: number;
  readonly bytes: bigint;
  readonly packets: bigint;
}

/**
 * The part is drawn anew for every pair and at each end: the ends seldom start together, and a
 * service's pairs that began together do not rekey together.
 *
 * @param random from 0 to below 1
 */
export function softLimits(
  limits: SaLimits,
  now: number,
  timing: Timing,
  random: number,
): SoftLimits {
  const part = timing.rekeyFrom + (timing.rekeyTo - timing.rekeyFrom) * random;
  const of = (limit: number): bigint => BigInt(Math.max(1, Math.floor(limit * part)));
  return {
    at: now + limits.seconds * 1000 * part,
    bytes: of(limits.bytes),
    packets: of(limits.packets),
  };
}

export const reached = (soft: SoftLimits, { bytes, packets }: SaUsage): boolean =>
  bytes >= soft.bytes || packets >= soft.packets;
