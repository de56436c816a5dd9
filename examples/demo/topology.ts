/**
 * Two clouds on one machine, as network namespaces.
 *
 * ```
 *   cloud a: 10.1.0.0/16                                   cloud b: 10.2.0.0/16
 *
 *   sp1 10.1.1.2 ─┐                                        ┌─ 10.2.1.2 sp2
 *   vm1 10.1.2.2 ─┼─ router-a ══════ 20 ms ══════ router-b ┤
 *   vm2 10.1.3.2 ─┘      192.0.2.1        192.0.2.2        └─ 10.2.2.2 vm3
 * ```
 *
 * Every host has a link of its own to its cloud's router, so that also packets between two VMs of
 * one cloud pass the router, where they are captured.
 */

import { connect, createNetns, type Netns } from '../../test/lab/netns.ts';
import { own } from './own.ts';

export interface DemoHost {
  readonly ns: Netns;
  readonly address: string;
}

export interface Topology {
  readonly routers: readonly [Netns, Netns];
  readonly superPeers: readonly [DemoHost, DemoHost];
  readonly vms: readonly [DemoHost, DemoHost, DemoHost];
}

const LINK_DELAY_MS = 20;

/** Builds the namespaces; `owner` removes them when it is disposed. */
export async function buildTopology(owner: AsyncDisposableStack): Promise<Topology> {
  const make = (label: string) => own(owner, createNetns(label));
  const routers = [await make('router-a'), await make('router-b')] as const;
  const [a, b] = routers;
  await connect(a, b, {
    addressesA: ['192.0.2.1/30'],
    addressesB: ['192.0.2.2/30'],
    delayMs: LINK_DELAY_MS,
  });
  await a.ip('route', 'add', '10.2.0.0/16', 'via', '192.0.2.2');
  await b.ip('route', 'add', '10.1.0.0/16', 'via', '192.0.2.1');
  for (const router of routers) await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);

  const host = (label: string, cloud: 1 | 2, subnet: number): Promise<DemoHost> =>
    hostAt(owner, cloud === 1 ? a : b, label, `10.${cloud}.${subnet}`);
  return {
    routers,
    superPeers: [await host('sp1', 1, 1), await host('sp2', 2, 1)],
    vms: [await host('vm1', 1, 2), await host('vm2', 1, 3), await host('vm3', 2, 2)],
  };
}

/**
 * A host with a link of its own to `router`: `.2` and `.1` of a /24, of which `net` is the first three bytes.
 */
export async function hostAt(
  owner: AsyncDisposableStack,
  router: Netns,
  label: string,
  net: string,
): Promise<DemoHost> {
  const ns = await own(owner, createNetns(label));
  await connect(ns, router, { addressesA: [`${net}.2/24`], addressesB: [`${net}.1/24`] });
  await ns.ip('route', 'add', 'default', 'via', `${net}.1`);
  return { ns, address: `${net}.2` };
}
