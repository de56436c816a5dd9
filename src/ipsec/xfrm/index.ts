/**
 * IPsec in the Linux kernel from Node: states (SAs), policies and events over xfrm netlink.
 *
 * ```ts
 * import { XfrmClient, XfrmKey, XfrmMonitor } from 'icvpn/xfrm';
 *
 * using xfrm = new XfrmClient();
 * using monitor = new XfrmMonitor({ groups: ['acquire', 'expire'] });
 * monitor.on('event', (event) => {
 *   if (event.type === 'acquire') console.log(`keys wanted for ${event.destination}`);
 * });
 * await xfrm.addState({
 *   source: '192.0.2.1',
 *   destination: '192.0.2.2',
 *   spi: 0x1000,
 *   mode: 'tunnel',
 *   reqid: 1,
 *   replay: { window: 128, esn: true },
 *   aead: { name: 'rfc4106(gcm(aes))', key: XfrmKey.of(key, salt), icvBits: 128 },
 * });
 * for (const state of await xfrm.states()) console.log(state.spi, state.usage.packets);
 * ```
 *
 * Needs Linux, CAP_NET_ADMIN for all that changes something, and a 64-bit kernel. The structures
 * of linux/xfrm.h themselves are in `kernel/`; security contexts (SELinux labels) are not offered.
 *
 * @packageDocumentation
 */

export { IcvpnError } from '../../errors.ts';
export { MalformedError, NetlinkError, RefusedError, ValueError } from '../netlink/errors.ts';
export type { CallOptions } from '../netlink/inflight.ts';
export type { PortMask, Selector } from './address.ts';
export type {
  Aead,
  Algorithms,
  Authenticator,
  Cipher,
  ReportedAlgorithm,
  ReportedAlgorithms,
} from './algorithm.ts';
export type { AsyncThresholds } from './async.ts';
export type { Mark } from './attributes.ts';
export { type BulkFailure, type KeyOptions, XfrmClient } from './client.ts';
export type {
  DefaultAction,
  HashThreshold,
  HashThresholds,
  PolicyCounts,
  PolicyDefaults,
  StateCounts,
} from './counts.ts';
export { XfrmError } from './errors.ts';
export type * from './event.ts';
export { XfrmKey } from './key.ts';
export type { Lifetime, Limit, Usage } from './lifetime.ts';
export type { MigrateSpec } from './migrate.ts';
export { type XfrmGroup, XfrmMonitor, type XfrmMonitorOptions } from './monitor.ts';
export type {
  EncapsulationType,
  ExtraFlag,
  Mode,
  OffloadFlag,
  PolicyAction,
  PolicyDirection,
  PolicyFlag,
  Protocol,
  Share,
  StateDirection,
  StateFlag,
} from './names.ts';
export type {
  Policy,
  PolicyId,
  PolicyIndex,
  PolicySpec,
  PolicyType,
  Template,
} from './policy.ts';
export type { Replay, ReplayStatus } from './replay.ts';
export type {
  Encapsulation,
  Iptfs,
  Offload,
  SpiRequest,
  State,
  StateFilter,
  StateId,
  StateSpec,
} from './state.ts';
export { parseStatistics, readStatistics, type XfrmStatistics } from './statistics.ts';
