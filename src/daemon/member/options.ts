/** What a member is started with. */
import type { DirectoryLock } from '../../files/lock.ts';
import type { Lifetimes } from '../../keymgmt/exchange/suite.ts';
import type { EncapsulationPolicy } from '../../policy/grant.ts';
import type { Bootstrap } from '../../records/bootstrap.ts';
import type { Log } from '../log.ts';

export interface MemberOptions {
  readonly stateDir: string;
  /** The lock of that directory, where the caller has it already; it stays the caller's. */
  readonly lock?: DirectoryLock;
  /** File with the key of the secure cache. */
  readonly keyFile?: string;
  /** Needed at the first start; kept in the secure cache from then on. */
  readonly bootstrap?: Bootstrap;
  /** Name of this instance; left out, the one that it was admitted with, or the host name. */
  readonly vmid?: string;
  /** Left out, those that it was admitted with, or those of its ticket. */
  readonly roles?: readonly string[];
  readonly listen: string[];
  readonly announce: string[];
  readonly interfaceName: string;
  /** CIDRs behind this member, which it makes known to the others; none if left out. */
  readonly subnets?: readonly string[];
  /** The interfaces that those are behind; those that routes lead to if left out. */
  readonly subnetInterfaces?: readonly string[];
  /** Hard limits of this node's SAs, offered to its peers; the lower of both ends' counts. */
  readonly saLifetimes?: Partial<Lifetimes>;
  /** ESP as it is or in UDP, where the service's policy leaves it open; `auto` if left out. */
  readonly encapsulation?: EncapsulationPolicy;
  /** UDP port for ESP in UDP; {@link NAT_TRAVERSAL_PORT} if left out. */
  readonly udpPort?: number;
  /** Milliseconds without a packet after which a peer's SAs are given up. */
  readonly saIdle?: number;
  /** Milliseconds for which a first start waits for super-peers; two minutes when left out. */
  readonly patience?: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}
