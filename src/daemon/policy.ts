/**
 * The owner's policy in this member's kernel.
 *
 * ```
 *  newest policy ─┐
 *  members ───────┼─▶ evaluate ─▶ firewall, in one transaction ─▶ 'enforced' ─▶ peers
 *  own credential ┘                  │ fails
 *                                    └─▶ 'blocked': no peer at all, tried again
 * ```
 *
 * The firewall comes first, the peers after it: who is new cannot send before the rules know it. While
 * the kernel does not enforce the newest policy this member talks to nobody.
 */
import type { AbortOptions } from '@libp2p/interface';
import { Emitter } from '../events.ts';
import type { Member as Listed } from '../overlay/membership.ts';
import type { ServicePolicy } from '../overlay/service-trust.ts';
import { evaluate, type PolicyMember, permittedSubnets } from '../policy/evaluate.ts';
import type { Grant } from '../policy/grant.ts';
import type { Credential } from '../records/credential.ts';
import type { Log } from './log.ts';
import type { PolicyStatus } from './status.ts';

/** Milliseconds before what failed is tried again: doubled each time, up to the limit. */
const RETRY = { first: 500, most: 30_000 };

/** Milliseconds after which rules are put in force again: another program may have removed them. */
const REAPPLY = 60_000;

/** What one member lets in and forwards. */
export interface EnforcedRules {
  /** CIDRs behind this member, as far as the policy lets it announce them. */
  readonly subnets: readonly string[];
  /** CIDRs of the service's virtual addresses and of what is behind other members. */
  readonly remotes: readonly string[];
  readonly grants: readonly Grant[] | 'all';
}

/** The firewall of one service in this kernel. */
export interface Enforcer {
  /** Replaces all rules of this service, or none of them. */
  apply(rules: EnforcedRules, options: AbortOptions): Promise<void>;
}

export interface PolicyEnforcementOptions {
  readonly firewall: Enforcer;
  /** The newest that is known. */
  readonly policy: () => ServicePolicy | undefined;
  readonly self: () => PolicyMember;
  /** CIDRs of the service's virtual addresses. */
  readonly prefixes: readonly string[];
  readonly log: Log;
  /** Milliseconds after which rules are put in force again, changed or not. Default: a minute. */
  readonly reapply?: number;
}

interface PolicyEnforcementEvents {
  /** The kernel enforces the newest policy for these members. */
  enforced: [readonly Listed[]];
  /** It does not. */
  blocked: [unknown];
}

interface Applied {
  readonly policy: ServicePolicy | undefined;
  readonly at: Date;
  readonly rules: string;
}

export class PolicyEnforcement extends Emitter<PolicyEnforcementEvents> implements AsyncDisposable {
  readonly #options: PolicyEnforcementOptions;
  readonly #life = new AbortController();
  #members: readonly Listed[] = [];
  #opened = false;
  #applied: Applied | undefined;
  #problem: string | undefined;
  #blocked = true;
  /** Whether nothing can have happened to the rules in the kernel. */
  #certain = true;
  #stale = false;
  #working: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #reapply: NodeJS.Timeout | undefined;
  #wait = RETRY.first;

  constructor(options: PolicyEnforcementOptions) {
    super();
    this.#options = options;
  }

  /** Whether nobody may be talked to, since the newest policy is not enforced. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /**
   * Begins: from now on the policy is known as far as anybody told it.
   *
   * @throws what the firewall threw
   */
  async open(): Promise<void> {
    this.#opened = true;
    this.#reapply = setInterval(() => {
      this.#certain = false;
      this.refresh();
    }, this.#options.reapply ?? REAPPLY).unref();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onEnforced = (): void => resolve();
    this.once('enforced', onEnforced).once('blocked', reject);
    this.refresh();
    await promise.finally(() => this.off('enforced', onEnforced).off('blocked', reject));
  }

  /** The members are these now. */
  follow(members: readonly Listed[]): void {
    this.#members = members;
    this.refresh();
  }

  /** The policy, or this member's own credential, may have changed. */
  refresh(): void {
    if (!this.#opened || this.#life.signal.aborted) return;
    clearTimeout(this.#retry);
    this.#stale = true;
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
      if (this.#stale) this.refresh();
    });
  }

  /** @returns undefined when the owner has published none that is known here */
  status(): PolicyStatus | undefined {
    const policy = this.#options.policy();
    if (policy === undefined) return undefined;
    const applied = this.#applied?.policy?.sequence === policy.sequence && !this.#blocked;
    return {
      sequence: policy.sequence,
      applied: applied ? (this.#applied?.at.toISOString() ?? null) : null,
      problem: this.#problem ?? null,
    };
  }

  async #work(): Promise<void> {
    while (this.#stale && !this.#life.signal.aborted) {
      this.#stale = false;
      const members = this.#members;
      try {
        await this.#apply(members);
      } catch (error) {
        if (!this.#life.signal.aborted) this.#block(error);
        continue;
      }
      this.#problem = undefined;
      this.#blocked = false;
      this.#wait = RETRY.first;
      this.tell('enforced', members);
    }
  }

  async #apply(members: readonly Listed[]): Promise<void> {
    const { firewall, self, prefixes, log } = this.#options;
    const policy = this.#options.policy();
    const me = self();
    const others = members
      .map(({ credential }) => policyMember(credential.value))
      .filter(({ peerId }) => peerId !== me.peerId);
    const view = { self: me, members: others, prefixes };
    const rules = {
      subnets: permittedSubnets(policy?.document, me),
      remotes: [
        ...view.prefixes,
        ...others.flatMap((each) => permittedSubnets(policy?.document, each)),
      ],
      grants: evaluate(policy?.document, view),
    };
    const text = JSON.stringify(rules);
    const before = this.#applied;
    if (before?.rules !== text || this.#blocked || !this.#certain) {
      this.#certain = true; // whoever changes them from now on makes it uncertain again
      await firewall.apply(rules, { signal: this.#life.signal });
    }
    const same = before !== undefined && before.policy?.sequence === policy?.sequence;
    this.#applied = { policy, at: same ? before.at : new Date(), rules: text };
    if (!same && policy !== undefined) log('policy-applied', { sequence: policy.sequence });
  }

  #block(error: unknown): void {
    const { log } = this.#options;
    this.#problem = error instanceof Error ? error.message : String(error);
    this.#blocked = true;
    log('policy-failed', { why: this.#problem, retry: this.#wait });
    this.#retry = setTimeout(() => this.refresh(), this.#wait).unref();
    this.#wait = Math.min(2 * this.#wait, RETRY.most);
    this.tell('blocked', error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort();
    clearTimeout(this.#retry);
    clearInterval(this.#reapply);
    await this.#working;
    this.removeAllListeners();
  }
}

export function policyMember({
  peerId,
  vmid,
  roles,
  ipv4,
  ipv6,
  subnets,
  vouched,
}: Credential): PolicyMember {
  return { peerId: peerId.toString(), vmid, roles, vouched, ipv4, ipv6, subnets };
}
