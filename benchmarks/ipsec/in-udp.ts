/** A second service between the same two machines, whose SAs are in UDP. */
import {
  A,
  B,
  establish,
  type Lab,
  openPlane,
  reversed,
  UNDERLAYS,
} from '../../test/lab/ipsec/planes.ts';
import type { Way } from './traffic.ts';

const HOST_A = { ipv6: 'fd00:3::a', ipv4: '10.93.0.10' };
const HOST_B = { ipv6: 'fd00:3::b', ipv4: '10.93.0.11' };
const PORTS = { localPort: 4520, remotePort: 4520 };

/** @param stack closes it */
export async function establishInUdp({ a, b }: Lab, stack: AsyncDisposableStack): Promise<Way> {
  const common = {
    ...{ interfaceName: 'icvpn1', ifId: 93, udpPort: PORTS.localPort },
    prefixes: { ipv6: 'fd00:3::/64', ipv4: '10.93.0.0/16' },
  };
  const planeA = stack.use(await openPlane(a, { virtualAddresses: HOST_A }, common));
  const planeB = stack.use(await openPlane(b, { virtualAddresses: HOST_B }, common));
  await planeA.addPeer({ id: B.id, virtualAddresses: HOST_B }, UNDERLAYS.IPv4);
  await planeB.addPeer({ id: A.id, virtualAddresses: HOST_A }, reversed(UNDERLAYS.IPv4));
  await establish(planeA, planeB, { a: PORTS, b: PORTS });
  return { from: HOST_A.ipv4, to: HOST_B.ipv4 };
}
