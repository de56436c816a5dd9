import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import type { DemoHost } from '../../examples/demo/topology.ts';
import { ask, listen } from '../lab/ipsec/probe.ts';
import { connect, createNetns, type Netns } from '../lab/netns.ts';
import { Scene, until } from './scene.ts';

// vm1 is the gateway of two services, each with a daemon of its own. The services know nothing of each
// other and have the same addresses behind their gateways.
//
//   h1 10.20.0.5 ── to-h1 ┐     ┌ icvpn1 ══ shop ══ vm2 ─ to-x1 ── x1 10.30.0.7
//   h2 10.20.0.5 ── to-h2 ┴ vm1 ┴ icvpn2 ══ bank ══ vm3 ─ to-x2 ── x2 10.30.0.7

const HERE = '10.20.0.0/16';
const THERE = '10.30.0.0/16';
const POLICY = {
  version: 1,
  routes: [
    { gateway: 'role:here', subnets: [HERE] },
    { gateway: 'role:there', subnets: [THERE] },
  ],
};

interface Service {
  readonly number: 1 | 2;
  readonly name: string;
  /** Behind vm1 and behind the other gateway. */
  readonly host: Netns;
  readonly remoteHost: Netns;
  readonly gateway: DemoHost;
}

describe('two services with a gateway on one machine', function () {
  this.timeout(300_000);

  it('P21 each reaches its own hosts at the addresses that both have, and no other', async () => {
    await using owned = new AsyncDisposableStack();
    const bank = ['--ipv4', '100.65.0.0/16'];
    const scene = owned.use(await Scene.build({ bank }));
    const [vm1, vm2, vm3] = scene.net.vms;
    for (const { ns } of scene.net.vms) await ns.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
    const attach = async (vm: DemoHost, label: string, net: string, host: number) => {
      const ns = owned.use(await createNetns(label));
      const addresses = { addressesA: [`${net}.1/16`], addressesB: [`${net}.${host}/16`] };
      await connect(vm.ns, ns, addresses);
      await ns.ip('route', 'add', 'default', 'via', `${net}.1`);
      owned.use(await listen(ns, 80));
      return ns;
    };
    const service = async (number: 1 | 2, name: string, gateway: DemoHost): Promise<Service> => ({
      ...{ number, name, gateway },
      host: await attach(vm1, `h${number}`, '10.20.0', 5),
      remoteHost: await attach(gateway, `x${number}`, '10.30.0', 7),
    });
    const services = [await service(1, 'shop', vm2), await service(2, 'bank', vm3)];
    const file = scene.file('policy.json');
    await writeFile(file, JSON.stringify(POLICY));
    for (const { number, name, gateway } of services) {
      // The owner names the gateways by role, and vouches for the roles by tickets.
      const admittedAs = async (role: string): Promise<string[]> => {
        const bootstrap = ['--bootstrap', scene.file(`${name}-${role}.json`)];
        const at = ['--dir', scene.file(name)];
        await scene.done(vm1, 'service', 'ticket', ...at, ...bootstrap, '--role', role);
        return bootstrap;
      };
      await scene.done(vm1, 'policy', 'publish', file, '--dir', scene.file(name));
      const here = ['--subnet', HERE, '--subnet-interface', `to-h${number}`];
      const apart = [
        ...['--interface', `icvpn${number}`, '--udp-port', `${4500 + number}`],
        ...['--listen', `/ip4/0.0.0.0/tcp/${4242 + number}`],
      ];
      await scene.up(vm1, `vm1-${name}`, ...(await admittedAs('here')), ...here, ...apart);
      await scene.up(gateway, `far-${name}`, ...(await admittedAs('there')), '--subnet', THERE);
      await until('the subnet of the other site', async () => {
        const { members } = await scene.status(`vm1-${name}`);
        return members.some((each) => !each.self && each.subnets.length > 0);
      });
    }
    const arrived = await Promise.all(
      services.flatMap(({ host, remoteHost }) => [
        ask(host, '10.30.0.7', 80),
        ask(remoteHost, '10.20.0.5', 80),
      ]),
    );
    assert.deepEqual(arrived, [
      ...['x1 10.20.0.5', 'h1 10.30.0.7'],
      ...['x2 10.20.0.5', 'h2 10.30.0.7'],
    ]);
    // Without shop's other gateway, shop's host reaches nobody, and not bank's.
    const [shop, other] = services;
    assert.ok(shop && other);
    await scene.down(shop.gateway, 'far-shop');
    await until('the gateway has left', async () => {
      const { members } = await scene.status('vm1-shop');
      return members.length === 1;
    });
    assert.equal(await ask(shop.host, '10.30.0.7', 80), 'EHOSTUNREACH');
    assert.equal(await ask(other.host, '10.30.0.7', 80), 'x2 10.20.0.5');
  });
});
