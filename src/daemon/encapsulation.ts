/** What this node wants of the encapsulation of ESP, and its port for ESP in UDP. */
import type { DataPlane } from '../ipsec/dataplane.ts';
import { NAT_TRAVERSAL_PORT } from '../ipsec/encap/udp.ts';
import { NetlinkError } from '../ipsec/netlink/errors.ts';
import type { EncapsulationPolicy } from '../policy/grant.ts';
import type { Log } from './log.ts';

export interface EncapsulationOptions {
  /** Given for this node; it comes before what the service's policy says. */
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
   * The service's policy says so; what was given for this node comes first.
   *
   * @returns whether that changes anything
   * @throws NetlinkError when it is `udp` and the port cannot be had
   */
  follow(policy: EncapsulationPolicy): boolean {
    if (this.#options.encapsulation !== undefined || policy === this.#policy) return false;
    const before = this.#policy;
    this.#policy = policy;
    try {
      this.#openPort();
    } catch (error) {
      this.#policy = before;
      throw error;
    }
    return true;
  }

  #openPort(): void {
    const { udpPort = NAT_TRAVERSAL_PORT, log } = this.#options;
    if (this.#policy === 'esp') return;
    try {
      this.#plane.openUdp(udpPort);
    } catch (error) {
      if (this.#policy === 'udp' || !(error instanceof NetlinkError)) throw error;
      // Between nodes that reach each other directly nothing is amiss.
      log('no-esp-in-udp', { port: udpPort, why: error.message, remedy: error.remedy });
    }
  }
}
