import assert from 'node:assert/strict';
import { hostBlock } from '../../../src/daemon/subnets.ts';
import type { Netns } from '../netns.ts';
import { ask, askInVain, listen } from './probe.ts';
import {
  buildSites,
  dropped,
  firewallInput,
  openFirewall,
  SUBNETS,
  siteInterface,
} from './sites.ts';

// What the gateway g forwards by itself, past every tunnel: between the sites of two tenants, and between
// them and what else it routes. Each host has an address of its own besides, 10.40.N.1 and fd40:N::1.

const own = (number: number) => ({ ipv4: `10.40.${number}.1`, ipv6: `fd40:${number}::1` });
const FAMILIES = ['ipv4', 'ipv6'] as const;
const ELSEWHERE = '192.0.1.2';

async function buildRoutedSites() {
  const sites = await buildSites();
  const { g, tenants } = sites;
  for (const tenant of tenants) {
    const { number, host } = tenant;
    const { ipv4, ipv6 } = own(number);
    await host.ip('address', 'add', `${ipv4}/32`, 'dev', 'lo');
    await host.ip('address', 'add', `${ipv6}/128`, 'dev', 'lo', 'nodad');
    await g.ip('route', 'add', ipv4, 'via', '10.20.0.5', 'dev', siteInterface(tenant));
    await g.ip('route', 'add', ipv6, 'via', 'fd20::5', 'dev', siteInterface(tenant));
  }
  const inputs = tenants.map((tenant) => {
    const site = [...SUBNETS, ...Object.values(own(tenant.number)).map(hostBlock)];
    return { ...firewallInput(tenant, 'all'), site };
  });
  return { ...sites, inputs };
}

/** Pings with an address of the sender's own; what came back. */
async function ping(from: Netns, source: string, to: string): Promise<number> {
  const args = ['-c', '3', '-i', '0.05', '-W', '0.5', '-I', source, to];
  const { stdout } = await from.exec('ping', args);
  return Number(/(\d+) received/.exec(stdout)?.[1]);
}

/** Where somebody is to answer: addresses and neighbours may not be settled yet. */
async function reaches(from: Netns, source: string, to: string): Promise<void> {
  for (let round = 0; round < 30; round++) if ((await ping(from, source, to)) > 0) return;
  assert.fail(`no way from ${source} to ${to}`);
}

describe('what a gateway forwards past its tunnels', function () {
  this.timeout(180_000);
  it('P21 no host of one tenant reaches one of another, both ways', async () => {
    await using sites = await buildRoutedSites();
    const { g, tenants, inputs } = sites;
    const [one, two] = tenants;
    const hosts = [
      [one, two],
      [two, one],
    ] as const;
    for (const [from, to] of hosts) {
      for (const family of FAMILIES) {
        const [source, target] = [own(from.number)[family], own(to.number)[family]];
        await reaches(from.host, source, target);
      }
    }
    for (const [i, input] of inputs.entries()) {
      // One firewall is enough for its own tenant.
      await using firewall = await openFirewall(g, input);
      const [to, from] = hosts[i] ?? hosts[0];
      for (const family of FAMILIES) {
        const [source, target] = [own(from.number)[family], own(to.number)[family]];
        assert.equal(await ping(from.host, source, target), 0, `into ${to.number}, ${family}`);
        const last = await dropped(g, to, 'into_site', /^\s+counter packets .* drop/);
        assert.equal(last, family === 'ipv4' ? 3 : 6, 'by this rule');
      }
      assert.ok(firewall);
    }
  });

  it('P21 who is elsewhere and claims to be behind a peer is not let in', async () => {
    await using sites = await buildRoutedSites();
    const { g, tenants, inputs } = sites;
    const [{ host, remoteGateway }] = tenants;
    const { ipv4 } = own(1);
    // Its own gateway's own host, but in clear.
    await remoteGateway.ip('address', 'add', '10.30.0.9/32', 'dev', 'lo');
    await remoteGateway.ip('route', 'add', ipv4, 'via', '192.0.1.1');
    await g.ip('route', 'add', '10.30.0.9', 'via', ELSEWHERE);
    await reaches(remoteGateway, '10.30.0.9', ipv4);
    await using firewall = await openFirewall(g, inputs[0] ?? assert.fail());
    assert.equal(await ping(remoteGateway, '10.30.0.9', ipv4), 0);
    // Nor as an answer.
    assert.equal(await ping(host, ipv4, '10.30.0.9'), 0);
    assert.ok(firewall);
  });

  it('hosts of a site begin connections elsewhere; nobody there does, but where the operator forwards a port', async () => {
    await using sites = await buildRoutedSites();
    const { g, tenants, inputs } = sites;
    const [{ host, remoteGateway: elsewhere }] = tenants;
    await elsewhere.ip('route', 'add', '10.20.0.0/16', 'via', '192.0.1.1');
    await using firewall = await openFirewall(g, inputs[0] ?? assert.fail());
    await using servers = new AsyncDisposableStack();
    for (const ns of [host, elsewhere]) servers.use(await listen(ns, 80));
    assert.equal(await ask(host, ELSEWHERE, 80), 'r1 10.20.0.5');
    assert.equal(await askInVain(elsewhere, '10.20.0.5', 80), 'silence');
    const nat = 'add chain ip operator in { type nat hook prerouting priority dstnat; }';
    const forward = 'add rule ip operator in tcp dport 8080 dnat to 10.20.0.5:80';
    await g.run('nft', [`add table ip operator; ${nat}; ${forward}`]);
    assert.equal(await ask(elsewhere, '192.0.1.1', 8080), `h1 ${ELSEWHERE}`);
    assert.ok(firewall);
  });
});
