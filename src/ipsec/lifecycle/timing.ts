/** Times of the life cycle, in milliseconds unless said. */
export interface Timing {
  /** An inbound SA is kept this long after its successor is in use, for packets on their way. */
  readonly overlap: number;
  /** Without a packet either way for this long, the pair is given up. */
  readonly idle: number;
  /** Packets in this long after a rekey are taken for the two ends' own; a third of `idle` at most. */
  readonly settle: number;
  /** Sending for this long without hearing anything makes this end ask. */
  readonly silence: number;
  /** An answer to a probe is waited for this long. */
  readonly probeTimeout: number;
  /** Unanswered probes after which the peer is taken for gone. */
  readonly probes: number;
  /** Pause after the first failed exchange; doubled each time. */
  readonly firstRetry: number;
  readonly longestRetry: number;
  /** Failed exchanges after which a pair that has no SAs is given up, until the next packet. */
  readonly tries: number;
  /** A pair that reaches a limit so soon counts as a failure for the pause before the next. */
  readonly brief: number;
  /** Rekeying starts at a part of each hard limit, drawn evenly between these two. */
  readonly rekeyFrom: number;
  readonly rekeyTo: number;
}

export const DEFAULT_TIMING: Timing = {
  overlap: 30_000,
  idle: 15 * 60_000,
  settle: 5_000,
  silence: 10_000,
  probeTimeout: 2_000,
  probes: 3,
  firstRetry: 250,
  longestRetry: 15_000,
  tries: 6,
  brief: 500,
  rekeyFrom: 0.8,
  rekeyTo: 0.9,
};

/**
 * Pause before another exchange. The jitter is down to a half, so that peers that failed together do
 * not all come back together.
 *
 * @param random from 0 to below 1
 */
export function retryDelay(timing: Timing, failures: number, random: number): number {
  const longest = Math.min(timing.firstRetry * 2 ** (failures - 1), timing.longestRetry);
  return longest * (0.5 + random / 2);
}
