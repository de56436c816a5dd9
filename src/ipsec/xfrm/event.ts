/** What the kernel tells without being asked. */
import type { Selector } from './address.ts';
import type { Mark } from './attributes.ts';
import type { Usage } from './lifetime.ts';
import type { Mode, PolicyDirection, Protocol } from './names.ts';
import type { Policy, Template } from './policy.ts';
import type { State } from './state.ts';

/** A policy wants a state that is not there. The kernel asks once, then again after `net.core.xfrm_acq_expires` seconds. */
export interface AcquireEvent {
  readonly type: 'acquire';
  /** Ends that the state should have. */
  readonly source: string;
  readonly destination: string;
  readonly protocol: Protocol;
  /** The packet that caused it. */
  readonly selector: Selector;
  readonly policy: Policy;
  readonly templates: readonly Template[];
  /** To be given as `sequence` of the state that answers. */
  readonly sequence: number;
  readonly mark?: Mark;
  readonly ifId?: number;
  /** Linux 6.13 and newer, for policies with the flag `cpu-acquire`. */
  readonly cpu?: number;
}

/** A lifetime has passed: soft, a successor is due; hard, the state is gone. A larval one is gone too. */
export interface ExpireEvent {
  readonly type: 'expire';
  readonly hard: boolean;
  readonly state: State;
}

export interface PolicyExpireEvent {
  readonly type: 'policy-expire';
  readonly hard: boolean;
  readonly policy: Policy;
}

/** A state was added (`new`), replaced (`update`) or deleted, by whomever. */
export type StateEvent =
  | { readonly type: 'state-new'; readonly state: State }
  | { readonly type: 'state-update'; readonly state: State }
  | { readonly type: 'state-delete'; readonly state: State };

export type PolicyEvent =
  | { readonly type: 'policy-new'; readonly policy: Policy }
  | { readonly type: 'policy-update'; readonly policy: Policy }
  | { readonly type: 'policy-delete'; readonly policy: Policy };

export type FlushEvent = { readonly type: 'state-flush' } | { readonly type: 'policy-flush' };

/** ESP in UDP came from another address or port: the peer's NAT has a new mapping. */
export interface MappingEvent {
  readonly type: 'mapping';
  readonly destination: string;
  readonly spi: number;
  readonly protocol: Protocol;
  readonly reqid: number;
  readonly oldSource: string;
  readonly newSource: string;
  readonly oldSourcePort: number;
  readonly newSourcePort: number;
}

/** The two ends of a tunnel, before and after. */
export interface Migration {
  readonly oldSource: string;
  readonly oldDestination: string;
  readonly newSource: string;
  readonly newDestination: string;
  readonly protocol: Protocol;
  readonly mode: Mode;
  readonly reqid?: number | undefined;
}

export interface MigrateEvent {
  readonly type: 'migrate';
  readonly direction: PolicyDirection;
  readonly selector: Selector;
  readonly migrations: readonly Migration[];
}

/** Replay numbers and usage of a state: asked for, just set, or past a threshold of packets or time. */
export interface AsyncEvent {
  readonly type: 'async-event';
  readonly cause: 'packets' | 'interval' | 'set' | 'asked';
  readonly source: string;
  readonly destination: string;
  readonly spi: number;
  readonly protocol: Protocol;
  readonly reqid: number;
  /** Number of the last packet sent. */
  readonly outbound: bigint;
  /** Highest number received. */
  readonly inbound: bigint;
  readonly usage?: Usage;
  /** The thresholds; times in tenths of a second. */
  readonly packets?: number;
  readonly interval?: number;
}

/** A packet matched nothing (Mobile IPv6). */
export interface ReportEvent {
  readonly type: 'report';
  readonly selector?: Selector;
}

/** Events were lost: whoever keeps a picture of the kernel must dump it anew. */
export interface OverrunEvent {
  readonly type: 'overrun';
}

export type XfrmEvent =
  | AcquireEvent
  | ExpireEvent
  | PolicyExpireEvent
  | StateEvent
  | PolicyEvent
  | FlushEvent
  | MappingEvent
  | MigrateEvent
  | AsyncEvent
  | ReportEvent
  | OverrunEvent;
