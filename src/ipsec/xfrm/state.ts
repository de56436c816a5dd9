/** Security associations ("states") as a person would describe them. */
import type { Selector } from './address.ts';
import type { Algorithms, ReportedAlgorithms } from './algorithm.ts';
import type { Mark } from './attributes.ts';
import type { Lifetime, Usage } from './lifetime.ts';
import type {
  EncapsulationType,
  ExtraFlag,
  Mode,
  OffloadFlag,
  Protocol,
  StateDirection,
  StateFlag,
} from './names.ts';
import type { Replay, ReplayStatus } from './replay.ts';

/** What names a state in the kernel. */
export interface StateId {
  readonly destination: string;
  /** Security parameter index, from 256 on for ESP. */
  readonly spi: number;
  /** `esp` if left out. */
  readonly protocol?: Protocol | undefined;
  readonly mark?: Mark | undefined;
}

/** ESP in UDP (RFC 3948) or in TCP (RFC 8229). */
export interface Encapsulation {
  readonly type: EncapsulationType;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Of transport mode behind NAT; unset otherwise. */
  readonly originalAddress?: string | undefined;
}

export interface Offload {
  readonly interfaceIndex: number;
  readonly flags?: readonly OffloadFlag[] | undefined;
}

/** RFC 9347, `mode: 'iptfs'`; times in microseconds, sizes in bytes. Linux 6.14 and newer. */
export interface Iptfs {
  readonly dropTime?: number | undefined;
  /** Packets. */
  readonly reorderWindow?: number | undefined;
  readonly dontFragment?: boolean | undefined;
  readonly initDelay?: number | undefined;
  readonly maxQueueSize?: number | undefined;
  readonly packetSize?: number | undefined;
}

interface StateCommon extends StateId {
  readonly source: string;
  /** `transport` if left out, as in `ip xfrm`. */
  readonly mode?: Mode | undefined;
  /** Ties the state to the templates of policies that name the same. */
  readonly reqid?: number | undefined;
  /** What traffic the state takes. Left out: all, of both families (`flag af-unspec`). */
  readonly selector?: Selector | undefined;
  readonly lifetime?: Lifetime | undefined;
  readonly replay?: Replay | undefined;
  readonly flags?: readonly StateFlag[] | undefined;
  readonly extraFlags?: readonly ExtraFlag[] | undefined;
  readonly encapsulation?: Encapsulation | undefined;
  /** Put on packets after they went through the state. */
  readonly outputMark?: Mark | undefined;
  /** Of the xfrm interface that the state belongs to. */
  readonly ifId?: number | undefined;
  /** Linux 6.10 and newer check that a state is used in this direction only. */
  readonly direction?: StateDirection | undefined;
  /** Pads packets to this many bytes (traffic flow confidentiality). */
  readonly tfcPad?: number | undefined;
  /** Mobile IPv6. */
  readonly careOfAddress?: string | undefined;
  readonly offload?: Offload | undefined;
  /** Least seconds between two MAPPING events. */
  readonly mappingThreshold?: number | undefined;
  /** Seconds between the kernel's own NAT keepalives. Linux 6.11 and newer. */
  readonly natKeepaliveInterval?: number | undefined;
  /** The state is for packets sent on this CPU. Linux 6.13 and newer. */
  readonly cpu?: number | undefined;
  readonly iptfs?: Iptfs | undefined;
  /** Of the ACQUIRE that this state answers. */
  readonly sequence?: number | undefined;
}

/** A state to be installed. */
export interface StateSpec extends StateCommon, Algorithms {}

/** A state as the kernel tells it. */
export interface State extends StateCommon, ReportedAlgorithms {
  readonly protocol: Protocol;
  readonly mode: Mode;
  readonly reqid: number;
  readonly lifetime: Lifetime;
  readonly replay: ReplayStatus;
  readonly usage: Usage;
  /** Packets dropped, by reason. */
  readonly drops: {
    readonly replayWindow: number;
    readonly replay: number;
    readonly integrityFailed: number;
  };
  /** Seconds since 1970 of the last use; undefined if never. */
  readonly lastUsedAt?: number;
  /** It has no algorithms yet: made by ACQUIRE or by an SPI allocation. */
  readonly larval: boolean;
}

/** What asks for an SPI. */
export interface SpiRequest {
  readonly source: string;
  readonly destination: string;
  readonly protocol?: Protocol | undefined;
  readonly mode?: Mode | undefined;
  readonly reqid?: number | undefined;
  /** Range, ends included; 0x100 to 0xffffffff if left out. */
  readonly min?: number | undefined;
  readonly max?: number | undefined;
  readonly mark?: Mark | undefined;
  readonly ifId?: number | undefined;
  readonly direction?: StateDirection | undefined;
  readonly cpu?: number | undefined;
  /** Of an ACQUIRE: its larval state is the one that gets the SPI. */
  readonly sequence?: number | undefined;
}

/** Which states to list; the kernel does the choosing. */
export interface StateFilter {
  readonly protocol?: Protocol | undefined;
  /** CIDRs of the two ends, both or none, of one family. */
  readonly ends?: { readonly source: string; readonly destination: string } | undefined;
}
