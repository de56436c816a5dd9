import assert from 'node:assert/strict';
import { on, once } from 'node:events';
import { serviceTable } from '../../../src/ipsec/dataplane/routing.ts';
import { XfrmClient } from '../../../src/ipsec/xfrm/index.ts';
import type { Netns } from '../netns.ts';
import { inside, WITHOUT_GUARD } from './inside.ts';
import { establish, everything, xfrmStat } from './planes.ts';
import { ask, askInVain, listen } from './probe.ts';
import {
  buildSites,
  dropped,
  firewallInput,
  gatewayOptions,
  ifIdOf,
  interfaceOf,
  openFirewall,
  openTenant,
  REMOTE_SUBNETS,
  SUBNETS,
  siteInterface,
  type Tenant,
} from './sites.ts';

const HOST = { ipv4: '10.20.0.5', ipv6: 'fd20::5' };
const REMOTE_HOST = { ipv4: '10.30.0.7', ipv6: 'fd30::7' };
const FAMILIES = ['ipv4', 'ipv6'] as const;
const CHILD = new URL('site-child.ts', import.meta.url);
const TCP = new URL('tcp-child.ts', import.meta.url);
const tcp = (port: number) => ({ protocol: 'tcp', first: port, last: port }) as const;

/** What reached a host, counted by the host itself. */
async function countArrivals(host: Netns): Promise<() => Promise<number>> {
  const chain = 'add chain inet seen in { type filter hook prerouting priority 0; }';
  const rule = 'add rule inet seen in meta l4proto { tcp, udp, icmp } counter';
  await host.run('nft', [`add table inet seen; ${chain}; ${rule}`]);
  return async () => {
    const rules = await host.run('nft', ['list', 'table', 'inet', 'seen']);
    return Number(/packets (\d+)/.exec(rules)?.[1]);
  };
}

/** As security groups of clouds often do: nobody tells the host that its packets are too long. */
async function dropTooBig(host: Netns): Promise<void> {
  const chain = 'add chain inet deaf in { type filter hook input priority 0; }';
  const rules = [
    'add rule inet deaf in icmp type destination-unreachable drop',
    'add rule inet deaf in icmpv6 type packet-too-big drop',
  ];
  await host.run('nft', [['add table inet deaf', chain, ...rules].join('; ')]);
}

/** All packets that IPsec refused, for whatever reason. */
async function refused(ns: Netns): Promise<number> {
  const counters = (await xfrmStat(ns)).matchAll(/^XfrmIn\S+\s+(\d+)$/gm);
  return [...counters].reduce((sum, [, count]) => sum + Number(count), 0);
}

describe('site to site', function () {
  this.timeout(180_000);
  it('P18 the first packet between hosts without icvpn waits for its SA; both families, both ways', async () => {
    await using sites = await buildSites();
    const [tenant] = sites.tenants;
    const { host, remoteHost } = tenant;
    await using firewall = await openFirewall(sites.g, firewallInput(tenant, 'all'));
    await using planes = await openTenant(sites.g, tenant);
    const { planeA, planeB } = planes;
    const acquired = once(planeA, 'acquire');
    const first = host.run('ping', ['-c', '1', '-W', '10', REMOTE_HOST.ipv6]);
    assert.deepEqual(await acquired, ['b']);
    await establish(planeA, planeB);
    assert.match(await first, /1 received/);
    await using here = await listen(host, 80);
    await using there = await listen(remoteHost, 80);
    for (const family of FAMILIES) {
      const answers = await Promise.all([
        ask(host, REMOTE_HOST[family], 80),
        ask(remoteHost, HOST[family], 80),
        // Members and hosts.
        ask(sites.g, REMOTE_HOST[family], 80),
        ask(tenant.remoteGateway, HOST[family], 80),
      ]);
      assert.deepEqual(answers, [
        `x1 ${HOST[family]}`,
        `h1 ${REMOTE_HOST[family]}`,
        `x1 ${tenant.a[family]}`,
        `h1 ${tenant.b[family]}`,
      ]);
    }
    // Hosts with 1,500 bytes on their own network are told what the tunnel takes.
    const sized = (bytes: number) =>
      host.exec('ping', ['-c', '1', '-W', '5', '-M', 'do', '-s', String(bytes), REMOTE_HOST.ipv4]);
    const tooLong = await sized(1_472);
    assert.match(tooLong.stdout, /Frag needed and DF set \(mtu = 1400\)/);
    assert.match((await sized(1_372)).stdout, /1 received/);
    assert.ok(here && there && firewall);
  });

  for (const family of FAMILIES) {
    it(`a TCP stream passes between hosts that no ICMP error reaches: ${family}`, async () => {
      await using sites = await buildSites();
      const [tenant] = sites.tenants;
      const { host, remoteHost } = tenant;
      for (const each of [host, remoteHost]) await dropTooBig(each);
      await using firewall = await openFirewall(sites.g, firewallInput(tenant, 'all'));
      await using planes = await openTenant(sites.g, tenant);
      await establish(planes.planeA, planes.planeB);
      const address = REMOTE_HOST[family];
      await using listener = remoteHost.node(TCP, ['listen', address]);
      assert.equal(await listener.line(), 'ready');
      await using sender = host.node(TCP, ['send', address, '500000']);
      assert.equal(await listener.line(), '500000');
      assert.equal(await sender.ended(), 0);
      assert.ok(firewall);
    });
  }

  it('forwards the ports that the policy names and no others, and answers to what hosts began', async () => {
    await using sites = await buildSites();
    const [tenant] = sites.tenants;
    const { host, remoteHost } = tenant;
    const inward = { sources: REMOTE_SUBNETS, destinations: SUBNETS, ports: [tcp(80)] };
    const outward = { sources: SUBNETS, destinations: REMOTE_SUBNETS, ports: [tcp(443)] };
    const input = firewallInput(tenant, [inward, outward]);
    await using firewall = await openFirewall(sites.g, input);
    await using planes = await openTenant(sites.g, tenant);
    await establish(planes.planeA, planes.planeB);
    await using here = await listen(host, 80, 81);
    await using there = await listen(remoteHost, 443, 444);
    for (const family of FAMILIES) {
      const answers = await Promise.all([
        ask(remoteHost, HOST[family], 80),
        askInVain(remoteHost, HOST[family], 81),
        ask(host, REMOTE_HOST[family], 443),
        askInVain(host, REMOTE_HOST[family], 444),
      ]);
      const [fromAfar, fromHere] = [REMOTE_HOST[family], HOST[family]];
      assert.deepEqual(answers, [`h1 ${fromAfar}`, 'silence', `x1 ${fromHere}`, 'silence']);
    }
    assert.ok(here && there && firewall);
  });

  it('P17 a subnet that its gateway has left is unreachable, not somewhere else', async () => {
    await using sites = await buildSites();
    const [tenant] = sites.tenants;
    await using planes = await openTenant(sites.g, tenant);
    const { planeA } = planes;
    await sites.g.ip('route', 'add', 'default', 'via', tenant.underlay.remote);
    const way = async (address: string) =>
      (await sites.g.exec('ip', ['route', 'get', address])).stdout;
    assert.match(await way(REMOTE_HOST.ipv4), /dev icvpn1/);
    await planeA.updatePeerSubnets('b', ['10.30.128.0/17']);
    assert.match(await way('10.30.200.1'), /dev icvpn1/);
    assert.doesNotMatch(await way(REMOTE_HOST.ipv4), /dev/);
    await planeA.removePeer('b');
    for (const address of [REMOTE_HOST.ipv4, '10.30.200.1']) {
      assert.doesNotMatch(await way(address), /dev/);
    }
    const policies = await sites.g.ip('xfrm', 'policy');
    assert.doesNotMatch(policies, /10\.30\./);
  });

  it("follows the machine's own ways to the subnets behind it", async () => {
    await using sites = await buildSites();
    const { g, tenants } = sites;
    const [tenant] = tenants;
    const { host, remoteHost } = tenant;
    await using planes = await openTenant(g, tenant);
    const { planeA, planeB } = planes;
    await establish(planeA, planeB);
    await using server = await listen(host, 80);
    /** How a packet from the other site is sent on. */
    const way = async (address: string) =>
      (await g.exec('ip', ['route', 'get', address, 'from', REMOTE_HOST.ipv4, 'iif', 'icvpn1']))
        .stdout;
    /** Until it is told that just these lead nowhere: a step between may be told too. */
    const strandedBy = async (stranded: readonly string[], ...change: string[]) => {
      const told = on(planeA, 'site', { signal: AbortSignal.timeout(60_000) });
      await g.ip(...change);
      for await (const [those] of told) if (`${those}` === `${stranded}`) return;
    };
    await host.ip('address', 'add', '10.20.7.1/32', 'dev', 'lo');
    await strandedBy([], 'route', 'add', '10.20.7.0/24', 'via', HOST.ipv4);
    assert.match(await way('10.20.7.1'), /via 10\.20\.0\.5 dev to-h1/);
    assert.equal(await ask(remoteHost, '10.20.7.1', 80), `h1 ${REMOTE_HOST.ipv4}`);
    await strandedBy([], 'route', 'delete', '10.20.7.0/24');
    assert.doesNotMatch(await way('10.20.7.1'), /via/);

    // The kernel takes the routes of an interface along with it; nothing goes elsewhere meanwhile.
    await g.ip('route', 'add', 'default', 'via', tenant.underlay.remote);
    await strandedBy(SUBNETS, 'link', 'set', 'to-h1', 'down');
    assert.doesNotMatch(await way(HOST.ipv4), /dev/);
    await strandedBy(['fd20::/64'], 'link', 'set', 'to-h1', 'up');
    await strandedBy([], 'address', 'add', 'fd20::1/64', 'dev', 'to-h1', 'nodad');
    for (const family of FAMILIES) {
      assert.equal(await ask(remoteHost, HOST[family], 80), `h1 ${REMOTE_HOST[family]}`);
    }
    assert.ok(server);
  });

  it('leaves nothing behind after close, also of a run that was killed', async () => {
    await using sites = await buildSites();
    const [tenant] = sites.tenants;
    const inKernel = async () => {
      const lines = (await everything(sites.g)).split('\n');
      // The underlay's own link-local addresses come when they are ready.
      return lines.filter((line) => !line.startsWith('anycast')).join('\n');
    };
    const before = await inKernel();
    const rules = async () => `${await sites.g.ip('rule')}${await sites.g.ip('-6', 'rule')}`;
    const rulesBefore = await rules();
    {
      await using killed = sites.g.node(CHILD);
      killed.send({
        options: gatewayOptions(tenant),
        peer: { id: 'c', virtualAddresses: tenant.b, subnets: ['10.31.0.0/16'] },
        underlay: tenant.underlay,
      });
      assert.equal(await killed.line(), 'open');
      process.kill(killed.pid, 'SIGKILL');
      await killed.ended();
    }
    assert.notEqual(await rules(), rulesBefore);
    {
      await using planes = await openTenant(sites.g, tenant);
      assert.match(await rules(), /to 10\.31\.0\.0\/16 .*unreachable/, 'still refused');
      assert.doesNotMatch(await sites.g.ip('xfrm', 'policy'), /10\.31\./);
      await establish(planes.planeA, planes.planeB);
    }
    assert.equal(await inKernel(), before);
    assert.equal(await rules(), rulesBefore);
  });
});

describe('two tenants on one gateway', function () {
  this.timeout(180_000);
  it('P21 with the same addresses at both ends, each reaches its own, and only that', async () => {
    await using sites = await buildSites();
    const { g, tenants } = sites;
    const [one, two] = tenants;
    await using firewall1 = await openFirewall(g, firewallInput(one, 'all'));
    await using firewall2 = await openFirewall(g, firewallInput(two, 'all'));
    await using planes1 = await openTenant(g, one);
    await using planes2 = await openTenant(g, two);
    await using servers = new AsyncDisposableStack();
    for (const { host, remoteHost } of tenants) {
      servers.use(await listen(host, 80));
      servers.use(await listen(remoteHost, 80));
    }
    // The first packets of both, at the same moment: each asks for its own SA.
    const acquired = [once(planes1.planeA, 'acquire'), once(planes2.planeA, 'acquire')];
    const first = tenants.map(({ host }) =>
      host.run('ping', ['-c', '1', '-W', '10', REMOTE_HOST.ipv4]),
    );
    assert.deepEqual(await Promise.all(acquired), [['b'], ['b']]);
    await establish(planes1.planeA, planes1.planeB);
    await establish(planes2.planeA, planes2.planeB);
    for (const each of first) assert.match(await each, /1 received/);
    for (const family of FAMILIES) {
      for (const { number, host, remoteHost } of tenants) {
        const answers = [ask(host, REMOTE_HOST[family], 80), ask(remoteHost, HOST[family], 80)];
        const expected = [`x${number} ${HOST[family]}`, `h${number} ${REMOTE_HOST[family]}`];
        assert.deepEqual(await Promise.all(answers), expected);
      }
    }
    assert.ok(firewall1 && firewall2);
  });

  for (const [attacker, victim] of [
    [0, 1],
    [1, 0],
  ] as const) {
    it(`P21 what an SA of tenant ${attacker + 1} decrypted never reaches tenant ${victim + 1}`, async () => {
      await using sites = await buildSites();
      const { g, tenants } = sites;
      const from = tenants[attacker];
      const to = tenants[victim];
      await using firewall1 = await openFirewall(g, firewallInput(from, 'all'));
      await using firewall2 = await openFirewall(g, firewallInput(to, 'all'));
      await using mine = await openTenant(g, from, WITHOUT_GUARD);
      await using theirs = await openTenant(g, to, WITHOUT_GUARD);
      await establish(mine.planeA, mine.planeB);
      await establish(theirs.planeA, theirs.planeB);
      // The victim's host and member have addresses that only the victim has, too.
      await to.host.ip('address', 'add', '10.77.0.5/32', 'dev', 'lo');
      await g.ip('route', 'add', '10.77.0.5/32', 'via', HOST.ipv4, 'dev', siteInterface(to));
      const beyond = ['10.77.0.5', to.b.ipv4];
      const targets = [...beyond, to.a.ipv4];
      const arrivals = await Promise.all(
        [to.host, to.remoteGateway, to.remoteHost].map(countArrivals),
      );
      const seen = async () => Promise.all(arrivals.map((each) => each()));
      const before = await seen();

      // The attacker's own gateway sends whatever it likes through its SA.
      await sendAnything(from.remoteGateway, from, targets);
      const ping = ['-c', '3', '-i', '0.05', '-W', '0.3'];
      const unanswered = async (source: Netns, ...addresses: string[]) => {
        for (const address of addresses) {
          const { stdout } = await source.exec('ping', [...ping, address]);
          assert.match(stdout, /3 packets transmitted, 0 received/, address);
        }
      };
      // The firewalls of both are in the way; it is for the kernel which one is asked first.
      const droppedHere = async () =>
        (await dropped(g, from, 'input', new RegExp(`iifname "${interfaceOf(from)}" counter`))) +
        (await dropped(g, to, 'input', /iifname != .* ip daddr /));
      await unanswered(from.remoteGateway, ...targets);
      assert.equal(await droppedHere(), 3, 'at g itself');

      // Were g to route it, its policies would refuse.
      const byIt = ['rule', 'add', 'pref', '10', 'iif', interfaceOf(from), 'lookup'];
      for (const table of ['main', String(serviceTable(ifIdOf(to)))]) await g.ip(...byIt, table);
      const refusedBefore = await refused(g);
      await unanswered(from.remoteGateway, ...beyond);
      assert.equal((await refused(g)) - refusedBefore, 3 * beyond.length, 'by the policies');

      // Were these to let it in, the firewall would not.
      using xfrm = inside(g, () => new XfrmClient());
      await letIn(xfrm, from, targets);
      const crossing = async () =>
        (await dropped(g, from, 'from_peers', /oifname != /)) +
        (await dropped(g, to, 'to_peers', /iifname != /));
      await unanswered(from.remoteGateway, ...targets);
      assert.equal(await crossing(), 3 * beyond.length, 'by the firewalls');

      // A host of the attacker's, towards what only the victim routes.
      await unanswered(from.host, to.b.ipv4);
      assert.equal(await crossing(), 3 * beyond.length + 3);

      assert.deepEqual(await seen(), before, 'nothing arrived');
      // And the counters do count: the victim's own traffic arrives.
      await to.remoteGateway.run('ping', ['-c', '1', '-W', '5', HOST.ipv4]);
      assert.notDeepEqual(await seen(), before);
      assert.ok(firewall1 && firewall2);
    });
  }
});

/** Policies and routes of an attacker's making, for destinations that are not its own. */
async function sendAnything(
  gateway: Netns,
  tenant: Tenant,
  targets: readonly string[],
): Promise<void> {
  using client = inside(gateway, () => new XfrmClient());
  const own = (await client.policies()).find(
    ({ direction, ifId, selector }) =>
      direction === 'out' &&
      ifId !== undefined &&
      selector.source === `${tenant.b.ipv4}/32` &&
      selector.destination === `${tenant.a.ipv4}/32`,
  );
  assert.ok(own);
  for (const target of targets) {
    const selector = { ...own.selector, destination: `${target}/32` };
    await client.addPolicy({
      direction: 'out',
      selector,
      templates: own.templates,
      ifId: own.ifId,
    });
    const device = ['dev', interfaceOf(tenant), 'src', tenant.b.ipv4];
    await gateway.ip('route', 'add', `${target}/32`, ...device);
  }
}

async function letIn(client: XfrmClient, tenant: Tenant, targets: readonly string[]) {
  const all = await client.policies();
  for (const direction of ['in', 'fwd'] as const) {
    const own = all.find(
      (each) =>
        each.direction === direction &&
        each.ifId === ifIdOf(tenant) &&
        each.selector.source === `${tenant.b.ipv4}/32`,
    );
    assert.ok(own);
    for (const target of targets) {
      const selector = { ...own.selector, destination: `${target}/32` };
      await client.addPolicy({ direction, selector, templates: own.templates, ifId: own.ifId });
    }
  }
}
