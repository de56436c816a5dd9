/** A second service between the same two machines, whose SAs are in UDP. */
import { DataPlane } from '../../src/ipsec/dataplane.ts';
import { inside } from '../../test/lab/ipsec/inside.ts';
import { A, B, establish, type Lab, reversed, UNDERLAYS } from '../../test/lab/ipsec/planes.ts';
import type { Netns } from '../../test/lab/netns.ts';
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
  const open = async (ns: Netns, virtualAddresses: typeof HOST_A): Promise<DataPlane> =>
    stack.use(await inside(ns, () => DataPlane.open({ ...common, virtualAddresses })));
  const [planeA, planeB] = [await open(a, HOST_A), await open(b, HOST_B)];
  await planeA.addPeer({ id: B.id, virtualAddresses: HOST_B }, UNDERLAYS.IPv4);
  await planeB.addPeer({ id: A.id, virtualAddresses: HOST_A }, reversed(UNDERLAYS.IPv4));
  await establish(planeA, planeB, { a: PORTS, b: PORTS });
  return { from: HOST_A.ipv4, to: HOST_B.ipv4 };
}
