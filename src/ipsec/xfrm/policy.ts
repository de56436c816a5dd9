/** Security policies as a person would describe them. */
import type { Selector } from './address.ts';
import type { Mark } from './attributes.ts';
import type { Lifetime, Usage } from './lifetime.ts';
import type { Mode, PolicyAction, PolicyDirection, PolicyFlag, Protocol, Share } from './names.ts';
import type { Offload } from './state.ts';

/** What state a packet must go through (out), or must have come through (in, fwd). */
export interface Template {
  /** Ends of a tunnel; left out in transport mode. */
  readonly source?: string | undefined;
  readonly destination?: string | undefined;
  /** `esp` if left out. */
  readonly protocol?: Protocol | undefined;
  /** `transport` if left out. */
  readonly mode?: Mode | undefined;
  readonly reqid?: number | undefined;
  /** Any if left out. */
  readonly spi?: number | undefined;
  readonly share?: Share | undefined;
  /** `level use`: passes without a state too. */
  readonly optional?: boolean | undefined;
}

/** What names a policy in the kernel; its if_id and mark are part of the name. */
export interface PolicyId {
  readonly direction: PolicyDirection;
  readonly selector: Selector;
  readonly mark?: Mark | undefined;
  readonly ifId?: number | undefined;
  /** `main` if left out. */
  readonly type?: PolicyType | undefined;
}

/** A policy by the index that the kernel gave it. */
export interface PolicyIndex {
  readonly direction: PolicyDirection;
  readonly index: number;
  readonly mark?: Mark | undefined;
  readonly ifId?: number | undefined;
  readonly type?: PolicyType | undefined;
}

export type PolicyType = 'main' | 'sub';

/** A policy to be installed. */
export interface PolicySpec extends PolicyId {
  /** `allow` if left out. With templates it means: allow what is protected so. */
  readonly action?: PolicyAction | undefined;
  /** The lower number wins; 0 if left out. */
  readonly priority?: number | undefined;
  readonly index?: number | undefined;
  readonly flags?: readonly PolicyFlag[] | undefined;
  readonly share?: Share | undefined;
  readonly lifetime?: Lifetime | undefined;
  /** At most 6, the innermost first. */
  readonly templates?: readonly Template[] | undefined;
  readonly offload?: Offload | undefined;
}

/** A policy as the kernel tells it. */
export interface Policy extends PolicySpec {
  readonly action: PolicyAction;
  readonly priority: number;
  readonly index: number;
  readonly flags: readonly PolicyFlag[];
  readonly lifetime: Lifetime;
  readonly usage: Usage;
  readonly templates: readonly Template[];
}
