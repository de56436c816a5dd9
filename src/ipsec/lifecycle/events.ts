/** What the life cycle of a pair of peers is told, and what it asks for. All times are milliseconds. */

export type Direction = 'in' | 'out';

/** The two SAs of one exchange, as this end has them. */
export interface SaPair {
  /** The peer sends to us under this SPI. */
  readonly inboundSpi: number;
  /** We send to the peer under this SPI. */
  readonly outboundSpi: number;
}

/** Hard limits that both ends agreed on, in each direction. */
export interface SaLimits {
  readonly seconds: number;
  readonly bytes: number;
  readonly packets: number;
}

/** What the kernel counted for one SA. */
export interface SaUsage {
  readonly spi: number;
  readonly direction: Direction;
  readonly packets: bigint;
  readonly bytes: bigint;
}

export type LifecycleEvent =
  /** The kernel has a packet for the peer and no SA. */
  | { readonly type: 'acquire' }
  /** An exchange has succeeded and both SAs are installed at this end. */
  | { readonly type: 'established'; readonly pair: SaPair; readonly limits: SaLimits }
  /** An exchange has failed, and this end still wants keys. */
  | { readonly type: 'failed' }
  /** A run broke where the peer may have the pair: our inbound SA of it is still installed. */
  | { readonly type: 'in-doubt'; readonly inboundSpi: number }
  /** Counters of the peer's SAs, read now and then. */
  | { readonly type: 'counters'; readonly usage: readonly SaUsage[] }
  /** This end sends a packet through the pair, to look after the path. */
  | { readonly type: 'touched' }
  /** The kernel's EXPIRE. Hard: it has removed the SA already. */
  | {
      readonly type: 'expired';
      readonly spi: number;
      readonly direction: Direction;
      readonly hard: boolean;
    }
  /** Another program has taken the SA from the kernel. */
  | { readonly type: 'lost'; readonly spi: number; readonly direction: Direction }
  /** Authenticated notice: the peer will soon receive no more under this SPI, which is an outbound one of ours. */
  | { readonly type: 'deleted'; readonly outboundSpi: number }
  /** Authenticated answer to `probe`: whether the peer has the inbound SA. */
  | { readonly type: 'probed'; readonly outboundSpi: number; readonly known: boolean }
  /** Our address or the peer's has changed. */
  | { readonly type: 'moved' }
  /** The time that `wakeAt` gave has come. */
  | { readonly type: 'tick' }
  /** The peer is revoked or forgotten, or this node leaves. */
  | { readonly type: 'close' };

export type LifecycleAction =
  /** Ask for an exchange; one that is under way already is good enough. */
  | { readonly do: 'exchange' }
  | { readonly do: 'remove'; readonly spi: number; readonly direction: Direction }
  /** Tell the peer that this inbound SA goes: it must stop sending under it. */
  | { readonly do: 'notify-deleted'; readonly inboundSpi: number }
  /** Ask the peer, over its authenticated control connection, whether it has this SA. */
  | { readonly do: 'probe'; readonly outboundSpi: number }
  /** Give up the run under way, point policies to the new addresses, remove every SA of the peer. */
  | { readonly do: 'move' }
  /** Nothing more is tried: let the kernel drop what waits, and ask again for the next packet. */
  | { readonly do: 'reject-acquire' };
