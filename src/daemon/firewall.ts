/**
 * The member's firewall. Nothing of it is in the kernel before the first rules are known; then they
 * take the place of whatever an earlier run, that crashed, has left.
 */
import type { AbortOptions } from '@libp2p/interface';
import { Emitter } from '../events.ts';
import type { Site } from '../ipsec/dataplane/site.ts';
import { Firewall } from '../ipsec/firewall/firewall.ts';
import type { FirewallInput } from '../ipsec/firewall/rules.ts';
import type { Repairable } from '../ipsec/guard/reconciler.ts';
import type { Credential } from '../records/credential.ts';
import { interfaceId } from '../records/virtual-address.ts';
import type { EnforcedRules, Enforcer } from './policy.ts';

interface MemberFirewallEvents {
  /** Somebody else has changed the rules in the kernel: {@link MemberFirewall.repair} puts them back. */
  disturbed: [];
  /** That would not be heard of any more. */
  deaf: [error: Error];
}

export class MemberFirewall
  extends Emitter<MemberFirewallEvents>
  implements Enforcer, Repairable, AsyncDisposable
{
  readonly #input: Omit<FirewallInput, keyof EnforcedRules>;
  #open: Firewall | undefined;

  private constructor(input: Omit<FirewallInput, keyof EnforcedRules>) {
    super();
    this.#input = input;
  }

  /**
   * @param interfaceName of the service's xfrm interface
   * @param site what is behind this member
   */
  static of(
    interfaceName: string,
    { serviceId, ipv4, ipv6 }: Credential,
    { subnets: site, interfaces: subnetInterfaces }: Site,
  ): MemberFirewall {
    return new MemberFirewall({
      interfaceName,
      ifId: interfaceId(serviceId),
      local: [`${ipv4}/32`, `${ipv6}/128`],
      ...{ site, subnetInterfaces },
    });
  }

  async apply(rules: EnforcedRules, options: AbortOptions): Promise<void> {
    if (this.#open) return this.#open.apply(rules, options);
    this.#open = await Firewall.open({ ...this.#input, ...rules }, options);
    this.#open.on('disturbed', () => this.tell('disturbed'));
    this.#open.on('error', (error) => this.tell('deaf', error));
  }

  async repair(): Promise<readonly string[]> {
    return (await this.#open?.repair()) ? ['policy rules'] : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.removeAllListeners();
    await this.#open?.close();
  }
}
