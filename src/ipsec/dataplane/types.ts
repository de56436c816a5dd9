/** What goes into a data plane and what comes out of it. */
import type { RunNft } from '../firewall/nft.ts';
import type { Lifetime } from '../xfrm/lifetime.ts';
import type { SaDirection, VirtualAddresses } from './peer.ts';
import type { Site } from './site.ts';

export interface DataPlaneOptions {
  /** 1 to 15 bytes. */
  readonly interfaceName: string;
  /** Of the interface, its policies and states; not 0, and of no other owner. */
  readonly ifId: number;
  /**
   * Bytes of the inner packet, 1,400 if left out: what an underlay of 1,500 carries over IPv6
   * (40 header, 8 SPI and sequence, 8 IV, 2 trailer, up to 3 padding, 16 ICV, 8 UDP), rounded down.
   */
  readonly mtu?: number;
  readonly virtualAddresses: VirtualAddresses;
  /** CIDRs of the service, routed to the interface. */
  readonly prefixes: VirtualAddresses;
  /** What is behind this machine, if it is a gateway. */
  readonly site?: Site;
  /** The local port of ESP in UDP, opened at once; see {@link DataPlane.openUdp}. */
  readonly udpPort?: number;
  /** Runs nft(8) in the network namespace of the plane; that of the process if left out. */
  readonly nft?: RunNft;
  readonly signal?: AbortSignal;
}

export interface SaOptions {
  /** `DEFAULT_LIFETIME` if left out. */
  readonly lifetime?: Lifetime;
  /** The ports of ESP in UDP; left out, ESP goes as it is. The local one must be open. */
  readonly udp?: UdpPorts | undefined;
}

export interface UdpPorts {
  readonly localPort: number;
  /** The peer's, as a NAT between shows it. */
  readonly remotePort: number;
}

export interface ExpireNotice {
  readonly peerId: string;
  readonly spi: number;
  readonly direction: SaDirection;
  /** The SA is gone; otherwise it still works and a successor is due. */
  readonly hard: boolean;
}

/** Another program has taken an SA from the kernel. */
export interface LossNotice {
  readonly peerId: string;
  readonly spi: number;
  readonly direction: SaDirection;
}

/** The peer's ESP in UDP comes from another address or port: a NAT between has a new mapping. */
export interface MappingNotice {
  readonly peerId: string;
  readonly remote: string;
  readonly remotePort: number;
}

export interface SaCounters {
  readonly peerId: string;
  readonly spi: number;
  readonly direction: SaDirection;
  readonly packets: bigint;
  readonly bytes: bigint;
  /** Seconds since 1970. */
  readonly addedAt: number;
}

export interface DataPlaneEvents {
  /** The kernel has a packet for this peer and no SA; told once until one is there or the kernel asks anew. */
  acquire: [peerId: string];
  expire: [notice: ExpireNotice];
  lost: [notice: LossNotice];
  mapping: [notice: MappingNotice];
  /** This machine has another way to a peer's subnet, which its own programs go on taking. */
  shadowed: [subnet: string];
  /** The machine reaches the subnets behind it in another way now, and some of them perhaps not at all. */
  site: [stranded: readonly string[]];
  /** What another program has taken from the kernel is back. */
  repaired: [what: readonly string[]];
  /** What has to be in the kernel is not there, or does not stay; undefined once it is there again. */
  soundness: [why: Error | undefined];
  /** Other rules than before of other programs are asked before the service's own, as `ip rule` shows them. */
  conflicts: [rules: readonly string[]];
  /** Hearing events failed; what is installed goes on working. */
  error: [error: Error];
}
