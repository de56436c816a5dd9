import assert from 'node:assert/strict';
import { keepSuperPeer } from '../../examples/demo/bootstrap.ts';
import { untilAnswered } from '../../examples/demo/ping.ts';
import type { DemoHost } from '../../examples/demo/topology.ts';
import { forgetConnections } from '../lab/conntrack.ts';
import type { Netns } from '../lab/netns.ts';
import type { TestProcess } from '../lab/process.ts';
import { count, Scene, until } from './scene.ts';

//   vm1 10.1.2.2 ── router-a ═══════════════ router-b ── 10.2.2.2 vm3
//                   NAT: 192.0.2.1,          NAT: 192.0.2.2
//                   later 198.51.100.1
//   vm2 10.1.3.2 ── no NAT, holds what vm1 and vm3 tell of themselves
//
// Both NATs forward the control port and the UDP port to their VM, as that of a cloud does which maps a public
// address to a VM one to one. Neither VM is told of it.

const LATER = '198.51.100.1';

describe('NATs that forward', function () {
  this.timeout(300_000);
  let scene: Scene;
  let routerA: Netns;
  let routerB: Netns;
  let vm1: DemoHost;
  let vm2: DemoHost;
  let vm3: DemoHost;
  let vm1Daemon: TestProcess;

  before(async () => {
    scene = await Scene.build();
    [routerA, routerB] = scene.net.routers;
    [vm1, vm2, vm3] = scene.net.vms;
    await translate(routerA, 'to-router-b', '192.0.2.1', vm1.address);
    await translate(routerB, 'to-router-a', '192.0.2.2', vm3.address);
    await routerA.ip('route', 'add', 'unreachable', '10.2.2.0/24');
    await routerB.ip('route', 'add', 'unreachable', '10.1.2.0/24');
    // Each begins at the super-peer in the other cloud, which sees it at the address of its NAT.
    await keepSuperPeer(scene.file('shop.json'), scene.file('turned.json'), 1);
    await scene.up(vm2, 'vm2');
    vm1Daemon = await scene.up(vm1, 'vm1', '--bootstrap', scene.file('turned.json'));
    await scene.up(vm3, 'vm3');
  });
  after(() => scene[Symbol.asyncDispose]());

  async function translate(
    router: Netns,
    outside: string,
    address: string,
    vm: string,
  ): Promise<void> {
    const to = `iifname ${outside} ip daddr ${address}`;
    const rules = `table ip nat
delete table ip nat
table ip nat {
  chain pre {
    type nat hook prerouting priority dstnat;
    ${to} tcp dport 4242 dnat to ${vm}
    ${to} udp dport 4500 dnat to ${vm}
  }
  chain post {
    type nat hook postrouting priority srcnat;
    oifname ${outside} ip saddr ${vm} snat to ${address}
  }
}`;
    await router.run('sh', ['-c', 'printf %s "$1" | nft --file -', 'sh', rules]);
  }

  async function answered(from: DemoHost, name: string): Promise<void> {
    const { ipv4 } = await scene.status(name);
    await untilAnswered(from.ns, ipv4, AbortSignal.timeout(60_000));
  }
  const peer = async (name: string, vmid: string) =>
    (await scene.status(name)).members.find((each) => each.vmid === vmid);

  it('two members reach each other at the addresses at which super-peers see them', async () => {
    await answered(vm3, 'vm1');
    await answered(vm1, 'vm3');
    const ends = [await peer('vm1', 'vm3'), await peer('vm3', 'vm1')];
    for (const each of ends) {
      assert.equal(each?.path?.encapsulation, 'udp');
      assert.equal(each?.path?.why, 'nat');
      assert.deepEqual(each?.path?.behindNat, { self: true, peer: true });
    }
    assert.deepEqual(
      ends.map((each) => each?.underlay),
      ['192.0.2.2', '192.0.2.1'],
    );
  });

  it('P20 a NAT with another address is followed while traffic goes on, without a new admission', async () => {
    await answered(vm1, 'vm3');
    const before = (await peer('vm3', 'vm1'))?.sa?.spiOut;
    const { ipv4 } = await scene.status('vm3');
    await using stream = vm1.ns.start('ping', ['-n', '-i', '0.1', ipv4]);
    await stream.line();
    await routerA.ip('address', 'add', `${LATER}/32`, 'dev', 'to-router-b');
    await routerB.ip('route', 'add', LATER, 'via', '192.0.2.1');
    // What comes to the old address is for the router itself from now on.
    await translate(routerA, 'to-router-b', LATER, vm1.address);
    await forgetConnections(routerA);
    const began = performance.now();
    await until(
      'at the new address',
      async () => {
        const found = await peer('vm3', 'vm1');
        return found?.underlay === LATER && found.sa !== null && found.sa?.spiOut !== before;
      },
      60_000,
    );
    await answered(vm1, 'vm3');
    console.log(`      again after ${((performance.now() - began) / 1000).toFixed(1)} s`);
    await answered(vm3, 'vm1');
    assert.equal(count(vm1Daemon.stderr, ' was-admitted '), 1);
  });
});
