/**
 * The member's firewall. Nothing of it is in the kernel before the first rules are known; then they
 * take the place of whatever an earlier run, that crashed, has left.
 */
import type { AbortOptions } from '@libp2p/interface';
import { Firewall } from '../ipsec/firewall/firewall.ts';
import type { FirewallInput } from '../ipsec/firewall/rules.ts';
import type { Credential } from '../records/credential.ts';
import { interfaceId } from '../records/virtual-address.ts';
import type { EnforcedRules, Enforcer } from './policy.ts';

export class MemberFirewall implements Enforcer, AsyncDisposable {
  readonly #input: Omit<FirewallInput, keyof EnforcedRules>;
  #open: Firewall | undefined;

  private constructor(input: Omit<FirewallInput, keyof EnforcedRules>) {
    this.#input = input;
  }

  /**
   * @param interfaceName of the service's xfrm interface
   * @param subnetInterfaces that the subnets behind this member are behind
   */
  static of(
    interfaceName: string,
    { serviceId, ipv4, ipv6 }: Credential,
    subnetInterfaces: readonly string[],
  ): MemberFirewall {
    return new MemberFirewall({
      interfaceName,
      ifId: interfaceId(serviceId),
      local: [`${ipv4}/32`, `${ipv6}/128`],
      subnetInterfaces,
    });
  }

  async apply(rules: EnforcedRules, options: AbortOptions): Promise<void> {
    if (this.#open) await this.#open.apply(rules, options);
    else this.#open = await Firewall.open({ ...this.#input, ...rules }, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#open?.close();
  }
}
