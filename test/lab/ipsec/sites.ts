import { DataPlane, type DataPlaneOptions } from '../../../src/ipsec/dataplane.ts';
import { type FirewallInput, tableName } from '../../../src/ipsec/firewall/rules.ts';
import { connect, createNetns, type Netns } from '../netns.ts';
import type { TestProcess } from '../process.ts';
import { inside, nftIn } from './inside.ts';

// A gateway g that serves two tenants, whose addresses are the same at both ends, and the gateway of
// each tenant's other site. Hosts h1, h2, x1, x2 have no icvpn.
//
//   h1 10.20.0.5 ── to-h1 ┐        ┌ icvpn1 ══ ESP ══ r1 ── x1 10.30.0.7
//      fd20::5            ├── g ───┤                           fd30::7
//   h2 10.20.0.5 ── to-h2 ┘        └ icvpn2 ══ ESP ══ r2 ── x2 10.30.0.7
//      fd20::5     10.20.0.1 on both                           fd30::7

export const SUBNETS = ['10.20.0.0/16', 'fd20::/64'];
export const REMOTE_SUBNETS = ['10.30.0.0/16', 'fd30::/64'];

export interface Tenant {
  readonly number: 1 | 2;
  readonly prefixes: { readonly ipv6: string; readonly ipv4: string };
  /** At g, with the virtual addresses of `a`; at the other gateway those of `b`. */
  readonly a: { readonly ipv6: string; readonly ipv4: string };
  readonly b: { readonly ipv6: string; readonly ipv4: string };
  readonly underlay: { readonly local: string; readonly remote: string };
  /** Behind g. */
  readonly host: Netns;
  readonly remoteGateway: Netns;
  /** Behind the other gateway. */
  readonly remoteHost: Netns;
}

export interface Sites extends AsyncDisposable {
  readonly g: Netns;
  readonly tenants: readonly [Tenant, Tenant];
}

export async function buildSites(): Promise<Sites> {
  await using stack = new AsyncDisposableStack();
  const g = stack.use(await createNetns('g'));
  await forward(g);
  const tenant = async (number: 1 | 2): Promise<Tenant> => {
    const host = stack.use(await createNetns(`h${number}`));
    const remoteGateway = stack.use(await createNetns(`r${number}`));
    const remoteHost = stack.use(await createNetns(`x${number}`));
    await forward(remoteGateway);
    await attach(g, host, '10.20.0.1/16', '10.20.0.5/16', 'fd20::1/64', 'fd20::5/64');
    await attach(
      remoteGateway,
      remoteHost,
      '10.30.0.1/16',
      '10.30.0.7/16',
      'fd30::1/64',
      'fd30::7/64',
    );
    await connect(g, remoteGateway, {
      addressesA: [`192.0.${number}.1/24`],
      addressesB: [`192.0.${number}.2/24`],
    });
    const ip = (last: string) => ({
      ipv6: `fd00:${number}::${last}`,
      ipv4: `10.9${number}.0.${last}`,
    });
    return {
      ...{ number, host, remoteGateway, remoteHost, a: ip('1'), b: ip('2') },
      prefixes: { ipv6: `fd00:${number}::/64`, ipv4: `10.9${number}.0.0/16` },
      underlay: { local: `192.0.${number}.1`, remote: `192.0.${number}.2` },
    };
  };
  const tenants = [await tenant(1), await tenant(2)] as const;
  const owned = stack.move();
  return { g, tenants, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function forward(ns: Netns): Promise<void> {
  await ns.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
}

/** A host behind a router. */
async function attach(
  router: Netns,
  host: Netns,
  ...[router4, host4, router6, host6]: [string, string, string, string]
): Promise<void> {
  await connect(router, host, { addressesA: [router4, router6], addressesB: [host4, host6] });
  for (const address of [router4, router6]) {
    await host.ip('route', 'add', 'default', 'via', address.split('/')[0] ?? '');
  }
}

export const interfaceOf = ({ number }: Tenant): string => `icvpn${number}`;
export const ifIdOf = ({ number }: Tenant): number => 100 + number;
/** g's interface towards the tenant's host. */
export const siteInterface = ({ number }: Tenant): string => `to-h${number}`;

/** What opens the tenant's data plane at g. */
export function gatewayOptions(tenant: Tenant): DataPlaneOptions {
  return {
    interfaceName: interfaceOf(tenant),
    ifId: ifIdOf(tenant),
    prefixes: tenant.prefixes,
    virtualAddresses: tenant.a,
    site: { subnets: SUBNETS, interfaces: [siteInterface(tenant)] },
  };
}

/** The data planes of one tenant, at g and at its other gateway; their ids are `a` and `b`. */
export async function openTenant(
  g: Netns,
  tenant: Tenant,
  more: Pick<DataPlaneOptions, 'nft'> = {},
) {
  await using stack = new AsyncDisposableStack();
  const { underlay, remoteGateway, number, a, b } = tenant;
  const open = (ns: Netns, options: DataPlaneOptions) =>
    inside(ns, () => DataPlane.open({ ...options, nft: nftIn(ns), ...more }));
  const here = gatewayOptions(tenant);
  const site = { subnets: REMOTE_SUBNETS, interfaces: [`to-x${number}`] };
  const planeA = stack.use(await open(g, here));
  const planeB = stack.use(await open(remoteGateway, { ...here, virtualAddresses: b, site }));
  await planeA.addPeer({ id: 'b', virtualAddresses: b, subnets: REMOTE_SUBNETS }, underlay);
  const back = { local: underlay.remote, remote: underlay.local };
  await planeB.addPeer({ id: 'a', virtualAddresses: a, subnets: SUBNETS }, back);
  const owned = stack.move();
  return { planeA, planeB, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** g's firewall for a tenant. */
export function firewallInput(tenant: Tenant, grants: FirewallInput['grants']): FirewallInput {
  return {
    interfaceName: interfaceOf(tenant),
    ifId: ifIdOf(tenant),
    local: [`${tenant.a.ipv4}/32`, `${tenant.a.ipv6}/128`],
    subnets: SUBNETS,
    site: SUBNETS,
    subnetInterfaces: [siteInterface(tenant)],
    remotes: [...Object.values(tenant.prefixes), ...REMOTE_SUBNETS],
    grants,
  };
}

const FIREWALL = new URL('firewall-child.ts', import.meta.url);

export async function openFirewall(g: Netns, input: FirewallInput): Promise<TestProcess> {
  const child = g.node(FIREWALL);
  child.send(input);
  const said = await child.line();
  if (said !== 'open') throw new Error(said);
  return child;
}

/** The packets that a chain of a tenant's firewall has dropped by one of its rules. */
export async function dropped(
  g: Netns,
  tenant: Tenant,
  chain: string,
  rule: RegExp,
): Promise<number> {
  const table = tableName(ifIdOf(tenant));
  const rules = (await g.run('nft', ['list', 'chain', 'inet', table, chain])).split('\n');
  const line = rules.find((each) => rule.test(each)) ?? '';
  return Number(/counter packets (\d+) bytes \d+ drop/.exec(line)?.[1]);
}
