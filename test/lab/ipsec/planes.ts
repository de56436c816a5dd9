import { randomBytes } from 'node:crypto';
import {
  DataPlane,
  type DataPlaneOptions,
  type UdpPorts,
  type Underlay,
} from '../../../src/ipsec/dataplane.ts';
import { connect, createNetns, type Netns } from '../netns.ts';
import { inside, nftIn } from './inside.ts';

// +-- a ----------------+             +-- b ----------------+
// |  icvpn0 fd00:1::a   |             |  icvpn0 fd00:1::b   |
// |         10.90.0.10  |             |         10.90.0.11  |
// |  192.0.2.1  ========== ESP ==========  192.0.2.2        |
// |  2001:db8::1        |             |  2001:db8::2        |
// +---------------------+             +---------------------+

export const PREFIXES = { ipv6: 'fd00:1::/64', ipv4: '10.90.0.0/16' };
export const A = { id: 'a', virtualAddresses: { ipv6: 'fd00:1::a', ipv4: '10.90.0.10' } };
export const B = { id: 'b', virtualAddresses: { ipv6: 'fd00:1::b', ipv4: '10.90.0.11' } };

/** From a to b. */
export const UNDERLAYS = {
  IPv4: { local: '192.0.2.1', remote: '192.0.2.2' },
  IPv6: { local: '2001:db8::1', remote: '2001:db8::2' },
};

/** The same way, seen from b. */
export const reversed = ({ local, remote }: Underlay): Underlay => ({
  local: remote,
  remote: local,
});

export const OPTIONS = { interfaceName: 'icvpn0', ifId: 77, prefixes: PREFIXES };

export function openPlane(
  ns: Netns,
  { virtualAddresses }: Pick<typeof A, 'virtualAddresses'>,
  more: Partial<Omit<DataPlaneOptions, 'virtualAddresses'>> = {},
): Promise<DataPlane> {
  return inside(ns, () =>
    DataPlane.open({ ...OPTIONS, nft: nftIn(ns), ...more, virtualAddresses }),
  );
}

export interface Lab extends AsyncDisposable {
  readonly a: Netns;
  readonly b: Netns;
  /** The end of the underlay in a. */
  readonly deviceA: string;
}

export async function underlay(): Promise<Lab> {
  await using stack = new AsyncDisposableStack();
  const a = stack.use(await createNetns('a'));
  const b = stack.use(await createNetns('b'));
  const { deviceA } = await connect(a, b, {
    addressesA: ['192.0.2.1/24', '2001:db8::1/64'],
    addressesB: ['192.0.2.2/24', '2001:db8::2/64'],
  });
  const owned = stack.move();
  return { a, b, deviceA, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Two planes that know each other and have no SA yet. */
export async function twoPlanes(
  lab: Lab,
  way: Underlay = UNDERLAYS.IPv4,
  udp?: UdpPorts,
  more: Pick<DataPlaneOptions, 'nft'> = {},
) {
  await using stack = new AsyncDisposableStack();
  const port = (udpPort: number | undefined) => (udpPort === undefined ? {} : { udpPort });
  const planeA = stack.use(await openPlane(lab.a, A, { ...port(udp?.localPort), ...more }));
  const planeB = stack.use(await openPlane(lab.b, B, { ...port(udp?.remotePort), ...more }));
  await planeA.addPeer(B, way);
  await planeB.addPeer(A, reversed(way));
  const owned = stack.move();
  return { planeA, planeB, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

export interface Spis {
  /** Of the SA from b to a. */
  readonly toA: number;
  readonly toB: number;
}

const keys = () => ({ key: randomBytes(32), salt: randomBytes(4) });

/** What the exchange does, started by a: fresh SPIs and keys for both directions, inbound first, who started it last. */
export async function establish(
  planeA: DataPlane,
  planeB: DataPlane,
  /** Of ESP in UDP, as a sees them and as b does. */
  ports: { readonly a?: UdpPorts | undefined; readonly b?: UdpPorts | undefined } = {},
): Promise<Spis> {
  const toA = await planeA.allocateSpi('b');
  const toB = await planeB.allocateSpi('a');
  const [keysToA, keysToB] = [keys(), keys()];
  const [atA, atB] = [{ udp: ports.a }, { udp: ports.b }];
  await planeA.installInbound('b', toA, keysToA, atA);
  await planeB.installInbound('a', toB, keysToB, atB);
  await planeB.installOutbound('a', toA, keysToA, atB);
  await planeA.installOutbound('b', toB, keysToB, atA);
  return { toA, toB };
}

/** Takes the SAs away on both sides, who sends before who receives. */
export async function retire(planeA: DataPlane, planeB: DataPlane, { toA, toB }: Spis) {
  await planeA.removeSa('b', toB, 'out');
  await planeB.removeSa('a', toA, 'out');
  await planeA.removeSa('b', toA, 'in');
  await planeB.removeSa('a', toB, 'in');
}

/** What the kernel holds, as text that can be compared. */
export async function everything(ns: Netns): Promise<string> {
  const parts = [ns.ip('xfrm', 'state'), ns.ip('xfrm', 'policy'), foundation(ns)];
  return (await Promise.all(parts)).join('\n---\n');
}

/** As {@link everything}, without states and policies. */
export async function foundation(ns: Netns): Promise<string> {
  const parts = [
    ns.ip('-br', 'link'),
    ns.ip('-br', 'address'),
    ns.ip('route', 'show', 'table', 'all'),
    ns.ip('-6', 'route', 'show', 'table', 'all'),
    ns.ip('rule'),
    ns.ip('-6', 'rule'),
    ns.run('nft', ['--stateless', 'list', 'ruleset']),
    ns.run('cat', ['/proc/sys/net/core/xfrm_larval_drop']),
  ];
  // The underlay gets a link-local address when the kernel is done with it.
  const lines = (await Promise.all(parts)).join('\n---\n').split('\n');
  return lines
    .filter((line) => !line.includes('local fe80:'))
    .join('\n')
    .replace(/ fe80:\S+/g, '');
}

/** The drop counters of IPsec. */
export function xfrmStat(ns: Netns): Promise<string> {
  return ns.run('cat', ['/proc/net/xfrm_stat']);
}
