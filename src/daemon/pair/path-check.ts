/**
 * Whether what this end sends to a peer arrives. The peer's word is authenticated, as it comes over
 * the control connection; what it counts was decrypted, so nobody else can have sent it.
 *
 * ```
 *   touch: a small packet through the SA ────── ESP ──────▶ the peer's kernel counts it
 *   ask:   how many came under this SPI?  ──── control ────▶ more than before: it passes
 *                                                           no more, again and again: it does not
 * ```
 */
import { setTimeout as delay } from 'node:timers/promises';

/** Milliseconds before each question but the first; about two seconds together. */
export const CHECK_PAUSES: readonly number[] = [150, 350, 600, 900];

export interface PathProbe {
  /** Sends a packet through the SA. */
  touch(): void;
  /** What the peer has received under the SA; undefined if it has no such SA. */
  received(signal: AbortSignal): Promise<number | undefined>;
  /** What has left this machine by the SA; undefined if it is gone. */
  sent(): Promise<bigint | undefined>;
}

/**
 * @param before what the peer had received when all was well; asked for first if left out
 * @returns undefined where it cannot be told: the peer does not answer or has lost the SA, or nothing
 * left this machine
 */
export async function checkPath(
  probe: PathProbe,
  before: number | undefined,
  signal: AbortSignal,
  pauses: readonly number[] = CHECK_PAUSES,
): Promise<'passes' | 'blocked' | undefined> {
  const base = before ?? (await probe.received(signal));
  if (base === undefined) return undefined;
  const sentBefore = await probe.sent();
  let received: number | undefined;
  for (const pause of [0, ...pauses]) {
    if (pause > 0) await delay(pause, undefined, { signal });
    probe.touch();
    // Just after an exchange the peer may not have the SA in use yet.
    received = await probe.received(signal);
    if (received !== undefined && received > base) return 'passes';
  }
  if (received === undefined) return undefined;
  const sent = await probe.sent();
  const left = sent !== undefined && sentBefore !== undefined && sent > sentBefore;
  return left ? 'blocked' : undefined;
}
