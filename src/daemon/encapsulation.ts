/** What this node wants of the encapsulation of ESP, and its port for ESP in UDP. */
import { IcvpnError } from '../errors.ts';
import type { DataPlane } from '../ipsec/dataplane.ts';
import { NAT_TRAVERSAL_PORT } from '../ipsec/encap/udp.ts';
import { NetlinkError } from '../ipsec/netlink/errors.ts';
import type { EncapsulationPolicy } from '../policy/grant.ts';
import type { Log } from './log.ts';

export interface EncapsulationOptions {
  /** This node's own setting, where the service's policy leaves it open; `auto` if left out. */
  readonly encapsulation?: EncapsulationPolicy;
  readonly udpPort?: number;
  readonly log: Log;
}

export class EncapsulationSetting {
  readonly #plane: Pick<DataPlane, 'openUdp'>;
  readonly #options: EncapsulationOptions;
  #policy: EncapsulationPolicy;

  /** @throws NetlinkError when the policy is `udp` and the port cannot be had */
  constructor(plane: Pick<DataPlane, 'openUdp'>, options: EncapsulationOptions) {
    this.#plane = plane;
    this.#options = options;
    this.#policy = options.encapsulation ?? 'auto';
    this.#openPort();
  }

  get policy(): EncapsulationPolicy {
    return this.#policy;
  }

  /**
   * What the service's policy says; undefined where it leaves it to each member. Where the port for `udp`
   * cannot be had the log says so, and all stays as it is: nothing is less secure for it.
   *
   * @returns whether that changes anything
   */
  follow(service: EncapsulationPolicy | undefined): boolean {
    const policy = service ?? this.#options.encapsulation ?? 'auto';
    if (policy === this.#policy) return false;
    const before = this.#policy;
    this.#policy = policy;
    try {
      this.#openPort();
    } catch (error) {
      this.#policy = before;
      this.#complain(error);
      return false;
    }
    return true;
  }

  #openPort(): void {
    const { udpPort = NAT_TRAVERSAL_PORT } = this.#options;
    if (this.#policy === 'esp') return;
    try {
      this.#plane.openUdp(udpPort);
    } catch (error) {
      if (this.#policy === 'udp' || !(error instanceof NetlinkError)) throw error;
      // Between nodes that reach each other directly nothing is amiss.
      this.#complain(error);
    }
  }

  #complain(error: unknown): void {
    const { udpPort = NAT_TRAVERSAL_PORT, log } = this.#options;
    const why = error instanceof Error ? error.message : String(error);
    const remedy = error instanceof IcvpnError ? error.remedy : '';
    log('no-esp-in-udp', { port: udpPort, why, remedy });
  }
}
