/** What one node has to let through, after the service's policy was evaluated for it. */

/** A protocol and, for TCP and UDP, the destination ports from `first` to `last`, both included. */
export type Ports =
  | { readonly protocol: 'any' | 'icmp' }
  | { readonly protocol: 'tcp' | 'udp'; readonly first: number; readonly last: number };

/** Connections that may be begun; what answers them passes too. */
export interface Grant {
  /** CIDRs, of either family: members' virtual addresses, subnets behind gateways. */
  readonly sources: readonly string[];
  /** CIDRs, of either family. */
  readonly destinations: readonly string[];
  readonly ports: readonly Ports[];
}

/** `auto`: native ESP where both ends are directly reachable and it passes, ESP in UDP otherwise. */
export type EncapsulationPolicy = 'auto' | 'esp' | 'udp';
