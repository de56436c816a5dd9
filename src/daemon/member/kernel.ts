/** What a member has in the kernel: firewall and data plane. */
import { formatPrefix } from '../../codec/ip.ts';
import { DataPlane } from '../../ipsec/dataplane.ts';
import { interfaceId, ipv6Prefix } from '../../records/virtual-address.ts';
import { EncapsulationSetting } from '../encapsulation.ts';
import { MemberFirewall } from '../firewall.ts';
import type { Arrival } from './arrival.ts';
import type { MemberOptions } from './options.ts';

export interface MemberKernel {
  readonly firewall: MemberFirewall;
  readonly dataPlane: DataPlane;
  readonly encapsulation: EncapsulationSetting;
}

/** @param owned closes the data plane, then the firewall: nothing passes unfiltered meanwhile */
export async function openKernel(
  { interfaceName, signal, log, ...options }: MemberOptions,
  { site, standing: { credential, descriptor } }: Arrival,
  owned: AsyncDisposableStack,
): Promise<MemberKernel> {
  const firewall = owned.use(MemberFirewall.of(interfaceName, credential.value, site));
  firewall.on('deaf', (error) => log('firewall-events-failed', { why: error.message }));
  const { serviceId, ipv4Prefix } = descriptor.value;
  const { ipv4, ipv6 } = credential.value;
  const dataPlane = await DataPlane.open({
    ...{ interfaceName, site, signal, ifId: interfaceId(serviceId) },
    virtualAddresses: { ipv4, ipv6 },
    prefixes: { ipv6: formatPrefix(ipv6Prefix(serviceId)), ipv4: formatPrefix(ipv4Prefix) },
  });
  owned.defer(() => dataPlane.close());
  dataPlane.on('error', (error) => log('kernel-events-failed', { why: error.message }));
  dataPlane.on('shadowed', (subnet) => log('subnet-shadowed', { subnet }));
  dataPlane.on('site', (stranded) => log('site-changed', { stranded: stranded.join() || 'none' }));
  const encapsulation = new EncapsulationSetting(dataPlane, { ...options, log });
  return { firewall, dataPlane, encapsulation };
}
