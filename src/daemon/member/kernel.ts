/** What a member has in the kernel: guard, data plane, firewall. */
import { formatPrefix } from '../../codec/ip.ts';
import { DataPlane, type GuardLeft } from '../../ipsec/dataplane.ts';
import { interfaceId, ipv6Prefix } from '../../records/virtual-address.ts';
import { EncapsulationSetting } from '../encapsulation.ts';
import { MemberFirewall } from '../firewall.ts';
import type { Arrival } from './arrival.ts';
import { forgetPlace, type KernelPlace, rememberPlace } from './kernel-place.ts';
import type { MemberOptions } from './options.ts';

/** How the member ends. */
export interface Ending {
  /** Whether the guard stays, as told; where nothing was told, it stays if it was there before. */
  keepGuard: boolean | undefined;
  /** What became of it. */
  left: GuardLeft | undefined;
}

export interface MemberKernel {
  readonly ending: Ending;
  readonly firewall: MemberFirewall;
  readonly dataPlane: DataPlane;
  readonly encapsulation: EncapsulationSetting;
}

/** @param owned closes the data plane, then the firewall: nothing passes unfiltered meanwhile */
export async function openKernel(
  { interfaceName, stateDir, signal, log, ...options }: MemberOptions,
  { site, standing: { credential, descriptor } }: Arrival,
  owned: AsyncDisposableStack,
): Promise<MemberKernel> {
  const firewall = owned.use(MemberFirewall.of(interfaceName, credential.value, site));
  firewall.on('deaf', (error) => log('firewall-events-failed', { why: error.message }));
  const { serviceId, ipv4Prefix } = descriptor.value;
  const { ipv4, ipv6 } = credential.value;
  const place: KernelPlace = {
    ...{ interfaceName, ifId: interfaceId(serviceId) },
    virtualAddresses: { ipv4, ipv6 },
    prefixes: { ipv6: formatPrefix(ipv6Prefix(serviceId)), ipv4: formatPrefix(ipv4Prefix) },
  };
  await rememberPlace(stateDir, place);
  const dataPlane = await DataPlane.open({ ...place, site, signal });
  const ending: Ending = { keepGuard: undefined, left: undefined };
  owned.defer(async () => {
    const keepGuard = ending.keepGuard ?? dataPlane.tookOverGuard;
    ending.left = await dataPlane.close({ keepGuard });
    if (ending.left.kept) log('guard-kept', { sockets: ending.left.sockets });
    else await forgetPlace(stateDir);
  });
  dataPlane.keep(firewall);
  firewall.on('disturbed', () => dataPlane.look());
  if (!dataPlane.packetsWait) {
    log('first-packets-lost', {
      why: '/proc/sys is read-only',
      remedy: 'net.core.xfrm_larval_drop=0',
    });
  }
  dataPlane.on('repaired', (what) => log('kernel-repaired', { what: what.join() }));
  dataPlane.on('conflicts', (rules) =>
    log('routing-rules-above', { rules: rules.join() || 'none' }),
  );
  dataPlane.on('soundness', (why) => log('kernel-soundness', { problem: why?.message ?? 'none' }));
  dataPlane.on('error', (error) => log('kernel-events-failed', { why: error.message }));
  dataPlane.on('shadowed', (subnet) => log('subnet-shadowed', { subnet }));
  dataPlane.on('site', (stranded) => log('site-changed', { stranded: stranded.join() || 'none' }));
  const encapsulation = new EncapsulationSetting(dataPlane, { ...options, log });
  return { ending, firewall, dataPlane, encapsulation };
}
