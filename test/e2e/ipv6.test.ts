import assert from 'node:assert/strict';
import { Capture } from '../../examples/demo/capture.ts';
import { untilAnswered } from '../../examples/demo/ping.ts';
import type { DemoHost } from '../../examples/demo/topology.ts';
import type { Netns } from '../lab/netns.ts';
import { Scene } from './scene.ts';

//   vm1 2001:db8:1::2 ── router-a ══ 2001:db8::/64 ══ router-b ── 2001:db8:2::2 vm3
//
// The super-peers have IPv4 alone; the two members tell that they are at an IPv6 address.

const ADDRESSES = { vm1: '2001:db8:1::2', vm3: '2001:db8:2::2' };
const MARK = 'icvpn-ipv6-clear';
const PATTERN = ['-p', Buffer.from(MARK).toString('hex')];
const PINGS = ['-n', '-q', '-i', '0.05', '-c', '10', ...PATTERN];

describe('members at IPv6 addresses', function () {
  this.timeout(180_000);
  let scene: Scene;
  let router: Netns;
  let vm1: DemoHost;
  let vm3: DemoHost;

  before(async () => {
    scene = await Scene.build();
    [vm1, , vm3] = scene.net.vms;
    const [routerA, routerB] = scene.net.routers;
    router = routerB;
    const address = (ns: Netns, cidr: string, device: string) =>
      ns.ip('address', 'add', cidr, 'dev', device, 'nodad');
    await address(routerA, '2001:db8::1/64', 'to-router-b');
    await address(routerB, '2001:db8::2/64', 'to-router-a');
    await address(routerA, '2001:db8:1::1/64', 'to-vm1');
    await address(routerB, '2001:db8:2::1/64', 'to-vm3');
    await address(vm1.ns, `${ADDRESSES.vm1}/64`, 'to-router-a');
    await address(vm3.ns, `${ADDRESSES.vm3}/64`, 'to-router-b');
    await vm1.ns.ip('route', 'add', 'default', 'via', '2001:db8:1::1');
    await vm3.ns.ip('route', 'add', 'default', 'via', '2001:db8:2::1');
    await routerA.ip('route', 'add', '2001:db8:2::/64', 'via', '2001:db8::2');
    await routerB.ip('route', 'add', '2001:db8:1::/64', 'via', '2001:db8::1');
    for (const each of [routerA, routerB]) {
      await each.run('sysctl', ['-qw', 'net.ipv6.conf.all.forwarding=1']);
    }
  });
  after(() => scene[Symbol.asyncDispose]());

  for (const encapsulation of ['udp', 'esp'] as const) {
    it(`carry both families in ${encapsulation}, with no packet in clear`, async () => {
      const listen = ['--listen', '/ip6/::/tcp/4242', '--encapsulation', encapsulation];
      await scene.up(vm1, 'vm1', ...listen);
      await scene.up(vm3, 'vm3', ...listen);
      await using capture = await Capture.start({
        ...{ router, file: scene.file(`${encapsulation}.pcap`), vms: Object.values(ADDRESSES) },
        ...{ virtualPrefixes: ['198.18.0.0/16'], controlPort: 4242, mark: MARK },
      });
      const { ipv4, ipv6 } = await scene.status('vm3');
      for (const each of [ipv4, ipv6]) {
        await untilAnswered(vm1.ns, each, AbortSignal.timeout(60_000));
        const { stdout } = await vm1.ns.exec('ping', [...PINGS, each], { timeoutMs: 30_000 });
        assert.match(stdout, /10 packets transmitted, 10 received/);
      }
      const { members } = await scene.status('vm1');
      const found = members.find(({ vmid }) => vmid === 'vm3');
      assert.equal(found?.underlay, ADDRESSES.vm3);
      assert.deepEqual([found?.path?.encapsulation, found?.path?.why], [encapsulation, 'policy']);
      const { esp, clear, marked } = await capture.finish();
      assert.ok(esp >= 40, `${esp} packets of ESP`);
      assert.deepEqual([clear, marked], [0, 0]);
      await scene.down(vm1, 'vm1');
      await scene.down(vm3, 'vm3');
    });
  }
});
