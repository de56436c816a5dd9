import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { keepSuperPeer } from '../../examples/demo/bootstrap.ts';
import { Capture } from '../../examples/demo/capture.ts';
import { untilAnswered } from '../../examples/demo/ping.ts';
import type { DemoHost } from '../../examples/demo/topology.ts';
import type { PathStatus } from '../../src/daemon/status.ts';
import type { Netns } from '../lab/netns.ts';
import type { TestProcess } from '../lab/process.ts';
import { Scene, until } from './scene.ts';

//   vm1 10.1.2.2 ── router-a ════════ router-b ── 10.2.2.2 vm3
//                   NAT for vm1: 192.0.2.1        knows no way to 10.1.2.0/24
//   vm2 10.1.3.2 ── no NAT

const MARK = 'icvpn-nat--clear';
const PATTERN = ['-p', Buffer.from(MARK).toString('hex')];

describe('NAT, and networks where ESP does not pass', function () {
  this.timeout(300_000);
  let scene: Scene;
  let routerA: Netns;
  let routerB: Netns;
  let vm1: DemoHost;
  let vm2: DemoHost;
  let vm3: DemoHost;
  let vm3Daemon: TestProcess;
  const addresses = new Map<string, string>();

  before(async () => {
    scene = await Scene.build();
    [routerA, routerB] = scene.net.routers;
    [vm1, vm2, vm3] = scene.net.vms;
    await masquerade('20000-20099');
    await routerB.ip('route', 'add', 'unreachable', '10.1.2.0/24');
    // It begins at the super-peer outside, which sees it at the NAT's address.
    await keepSuperPeer(scene.file('shop.json'), scene.file('turned.json'), 1);
    await up(vm1, 'vm1', '--bootstrap', scene.file('turned.json'));
    await up(vm2, 'vm2');
    vm3Daemon = await up(vm3, 'vm3');
  });
  after(() => scene[Symbol.asyncDispose]());

  async function up(at: DemoHost, name: string, ...options: string[]): Promise<TestProcess> {
    const daemon = await scene.up(at, name, ...options);
    addresses.set(name, (await scene.status(name)).ipv4);
    return daemon;
  }

  /** vm1 is seen at one address, its UDP at ports of a range. */
  async function masquerade(ports: string): Promise<void> {
    const from = ['ip', 'saddr', '10.1.2.0/24', 'oifname', 'to-router-b'];
    await routerA.run('nft', ['add', 'table', 'ip', 'nat']);
    await routerA.run('nft', ['flush', 'table', 'ip', 'nat']);
    const hook = '{ type nat hook postrouting priority 100; }';
    await routerA.run('nft', ['add', 'chain', 'ip', 'nat', 'post', hook]);
    const rule = ['add', 'rule', 'ip', 'nat', 'post', ...from];
    await routerA.run('nft', [...rule, 'udp', 'sport', '1-65535', 'masquerade', 'to', `:${ports}`]);
    await routerA.run('nft', [...rule, 'masquerade']);
  }

  const ipv4 = (name: string): string => addresses.get(name) ?? '';
  const answered = (from: DemoHost, to: string, limitMs = 60_000): Promise<void> =>
    untilAnswered(from.ns, ipv4(to), AbortSignal.timeout(limitMs));
  /** How one reaches `peer`. */
  async function path(name: string, peer: string): Promise<PathStatus | null> {
    const { members } = await scene.status(name);
    return members.find(({ vmid }) => vmid === peer)?.path ?? null;
  }

  it('goes in UDP through a NAT, whoever begins, with no packet in clear', async () => {
    await using capture = await Capture.start({
      ...{ router: routerB, file: scene.file('nat.pcap'), vms: ['192.0.2.1', vm3.address] },
      ...{ virtualPrefixes: ['198.18.0.0/16'], controlPort: 4242, mark: MARK },
    });
    // The one outside begins: what waits for the SA arrives, though only the NAT knows where to.
    await until('vm3 knows vm1', async () => (await vm3Members()).includes('vm1'));
    const pings = ['-n', '-q', '-i', '0.2', '-W', '2', '-c', '10', ...PATTERN];
    const { stdout } = await vm3.ns.exec('ping', [...pings, ipv4('vm1')], { timeoutMs: 30_000 });
    console.log(`      ${/\d+ packets transmitted.*/.exec(stdout)?.[0]}`);
    await answered(vm3, 'vm1');
    await answered(vm1, 'vm3');
    const inside = await path('vm1', 'vm3');
    const outside = await path('vm3', 'vm1');
    for (const each of [inside, outside]) {
      assert.equal(each?.encapsulation, 'udp');
      assert.equal(each?.why, 'nat');
    }
    assert.deepEqual(inside?.behindNat, { self: true, peer: false });
    assert.deepEqual(outside?.behindNat, { self: false, peer: true });
    assert.equal(inside?.remotePort, 4500);
    assert.ok((outside?.remotePort ?? 0) >= 20_000 && (outside?.remotePort ?? 0) < 20_100);
    const captured = await capture.finish();
    assert.equal(captured.clear, 0);
    assert.equal(captured.marked, 0);
    assert.ok(captured.esp >= 20, `${captured.esp} packets of ESP`);
    const text = await scene.done(vm3, 'status', '--state', scene.file('vm3'));
    assert.match(text, /ESP in UDP to 192\.0\.2\.1:200\d\d: it is behind a NAT/);
  });

  const vm3Members = async (): Promise<string[]> =>
    (await scene.status('vm3')).members.map(({ vmid }) => vmid);

  it('goes as ESP in the same service where no NAT is between', async () => {
    await answered(vm2, 'vm3');
    await answered(vm2, 'vm1');
    for (const peer of ['vm3', 'vm1']) {
      const found = await path('vm2', peer);
      assert.deepEqual([found?.encapsulation, found?.why], ['esp', 'direct']);
    }
    await until('it is known to pass', async () => (await path('vm2', 'vm3'))?.passes === true);
  });

  it('follows the policy of the owner, in pairs that are in use, and loses nothing', async () => {
    await answered(vm2, 'vm1');
    const pings = ['-n', '-q', '-i', '0.05', '-c', '400', ipv4('vm1')];
    const pinging = vm2.ns.exec('ping', pings, { timeoutMs: 120_000 });
    for (const [encapsulation, now] of [
      ['udp', ['udp', 'policy']],
      [undefined, ['esp', 'direct']],
    ] as const) {
      const file = scene.file('policy.json');
      await writeFile(file, JSON.stringify({ version: 1, encapsulation }));
      await scene.owner('policy', 'publish', file);
      await until(`now in ${now[0]}`, async () => {
        const found = await path('vm2', 'vm1');
        return found?.encapsulation === now[0] && found.why === now[1];
      });
    }
    const { stdout } = await pinging;
    assert.match(stdout, /400 packets transmitted, 400 received/);
  });

  it('follows a NAT that begins anew with other ports, without new keys', async () => {
    await answered(vm1, 'vm3');
    // The policy of the test before is gone at both, and with it the keys that it led to.
    for (const [name, peer] of [
      ['vm1', 'vm3'],
      ['vm3', 'vm1'],
    ] as const) {
      await until(`${name} as before`, async () => (await path(name, peer))?.why === 'nat');
    }
    const spiBefore = await spiOf('vm3', 'vm1');
    const admissions = vm3Daemon.stderr.split('was-admitted').length;
    await masquerade('30000-30099');
    // An interface that goes takes the NAT's memory along, as a reboot does.
    await routerA.ip('link', 'set', 'to-router-b', 'down');
    await routerA.ip('link', 'set', 'to-router-b', 'up');
    await routerA.ip('route', 'add', '10.2.0.0/16', 'via', '192.0.2.2');
    const began = performance.now();
    await answered(vm1, 'vm3');
    console.log(`      again after ${((performance.now() - began) / 1000).toFixed(2)} s`);
    await answered(vm3, 'vm1');
    const port = (await path('vm3', 'vm1'))?.remotePort ?? 0;
    assert.ok(port >= 30_000 && port < 30_100, `port ${port}`);
    assert.equal(await spiOf('vm3', 'vm1'), spiBefore, 'the same SAs');
    assert.equal(vm3Daemon.stderr.split('was-admitted').length, admissions);
  });

  async function spiOf(name: string, peer: string): Promise<string | undefined> {
    const { members } = await scene.status(name);
    return members.find(({ vmid }) => vmid === peer)?.sa?.spiOut;
  }

  it('goes over to UDP where ESP is dropped on the way, and says so', async () => {
    await answered(vm2, 'vm3');
    await dropEsp();
    const began = performance.now();
    await until(
      'ESP in UDP',
      async () => {
        await vm2.ns.exec('ping', ['-n', '-q', '-c', '1', '-W', '0.2', ipv4('vm3')]);
        return (await path('vm2', 'vm3'))?.encapsulation === 'udp';
      },
      60_000,
    );
    await answered(vm2, 'vm3');
    console.log(`      again after ${((performance.now() - began) / 1000).toFixed(1)} s`);
    for (const [name, peer] of [
      ['vm2', 'vm3'],
      ['vm3', 'vm2'],
    ] as const) {
      const found = await path(name, peer);
      assert.deepEqual([found?.encapsulation, found?.why], ['udp', 'blocked']);
    }
    const text = await scene.done(vm2, 'status', '--state', scene.file('vm2'));
    assert.match(text, /ESP in UDP to 10\.2\.2\.2:4500: ESP by itself does not pass/);
  });

  async function dropEsp(): Promise<void> {
    await routerB.run('nft', ['add', 'table', 'ip', 'wall']);
    const hook = '{ type filter hook forward priority 0; }';
    await routerB.run('nft', ['add', 'chain', 'ip', 'wall', 'way', hook]);
    await routerB.run('nft', ['add', 'rule', 'ip', 'wall', 'way', 'ip', 'protocol', 'esp', 'drop']);
  }

  it('finds UDP at once, from the first packet, where ESP never passed', async () => {
    await scene.down(vm2, 'vm2');
    await up(vm2, 'vm2');
    const began = performance.now();
    await answered(vm2, 'vm3');
    console.log(`      first answer after ${((performance.now() - began) / 1000).toFixed(1)} s`);
    assert.equal((await path('vm2', 'vm3'))?.why, 'blocked');
  });

  it('stays with ESP where that is the policy, and says that nothing arrives', async () => {
    await scene.down(vm2, 'vm2');
    const daemon = await up(vm2, 'vm2', '--encapsulation', 'esp');
    const said = daemon.said(' path-blocked ', 60_000);
    await vm2.ns.exec('ping', ['-n', '-q', '-c', '3', '-W', '1', ipv4('vm3')]);
    await said;
    const found = await path('vm2', 'vm3');
    assert.deepEqual([found?.encapsulation, found?.why, found?.passes], ['esp', 'policy', false]);
    const text = await scene.done(vm2, 'status', '--state', scene.file('vm2'));
    assert.match(text, /ESP: as the policy says; NOTHING ARRIVES/);
  });

  it('goes in UDP where that is the policy of one end', async () => {
    await scene.down(vm2, 'vm2');
    await up(vm2, 'vm2', '--encapsulation', 'udp', '--udp-port', '4501');
    await answered(vm2, 'vm1');
    // It may be told of in the list a moment later.
    await until('vm1 lists vm2', async () => (await path('vm1', 'vm2')) !== null);
    const [one, other] = [await path('vm2', 'vm1'), await path('vm1', 'vm2')];
    assert.deepEqual([one?.encapsulation, one?.why, one?.remotePort], ['udp', 'policy', 4500]);
    assert.deepEqual([other?.encapsulation, other?.remotePort], ['udp', 4501]);
  });
});
