/** Which of a peer's addresses lead to it from this node. */

export interface Surroundings {
  /** Addresses of this machine: what has one of them here is this machine. */
  readonly own: readonly string[];
  /** Addresses at which others see this machine: a peer that is seen at one is behind the same NAT. */
  readonly observed: readonly string[];
  /** Whether other machines can use an address. */
  readonly isUnderlay: (address: string) => boolean;
  /** Whether another peer is the way to an address. */
  readonly isBehindAnother: (address: string) => boolean;
}

/**
 * @param told best first
 * @returns those that may lead to the peer, best first; where others cannot use any of them, as they were told
 */
export function waysTo(told: readonly string[], around: Surroundings): string[] {
  const { own, observed, isUnderlay, isBehindAnother } = around;
  const elsewhere = told.filter((each) => !own.includes(each));
  // Few NATs send a packet back inside.
  const outside = elsewhere.filter((each) => !observed.includes(each));
  const candidates = outside.length > 0 ? outside : elsewhere;
  const leading = candidates.filter((each) => isUnderlay(each) && !isBehindAnother(each));
  return [...new Set(leading.length > 0 ? leading : candidates)];
}
