import assert from 'node:assert/strict';
import { untilAnswered } from '../../examples/demo/ping.ts';
import { Scene, until } from './scene.ts';

// Virtual addresses with real processes in the demo's two clouds.

const LIFETIME_SECONDS = 24;

describe('virtual addresses', function () {
  this.timeout(300_000);
  let scene: Scene;
  before(async () => {
    scene = await Scene.build({
      service: ['--credential-lifetime', String(LIFETIME_SECONDS)],
    });
  });
  after(() => scene[Symbol.asyncDispose]());

  it('P26 up refuses where an address of the machine lies in the prefix, and names it', async () => {
    const [, , vm3] = scene.net.vms;
    await vm3.ns.ip('address', 'add', '198.18.9.9/32', 'dev', 'lo');
    const args = ['--state', scene.file('vm3'), '--bootstrap', scene.file('shop.json')];
    const { code, stderr } = await scene.icvpn(vm3, 'up', '--foreground', ...args);
    assert.equal(code, 1);
    assert.match(stderr, /address 198\.18\.9\.9 on lo overlaps .*198\.18\.0\.0\/16/);
    assert.match(stderr, /service create --ipv4/);
    await vm3.ns.ip('address', 'delete', '198.18.9.9/32', 'dev', 'lo');
  });

  it('P26 a member whose super-peer is struck off gets an address of another, and goes on with it', async () => {
    const [vm1, vm2] = scene.net.vms;
    await scene.up(vm1, 'vm1');
    const daemon = await scene.up(vm2, 'vm2');
    const before = await scene.status('vm2');
    await untilAnswered(vm1.ns, before.ipv4, AbortSignal.timeout(60_000));
    const [sp0, sp1] = scene.net.superPeers;
    const { peerId: first } = await scene.status('sp0');
    const { peerId: second } = await scene.status('sp1');
    const [name, at, other] =
      before.admittedBy === first ? ['sp0', sp0, second] : ['sp1', sp1, first];
    await scene.down(at, String(name));
    await daemon.said(` renewed by=${other}`, 60_000);
    assert.equal((await scene.status('vm2')).ipv4, before.ipv4, 'renewed elsewhere: the same');
    await scene.owner('service', 'update', '--remove', before.admittedBy, '--new-epoch');
    await scene.owner('service', 'publish');
    await daemon.said(' address-changed ', 60_000);
    await until('vm2 up with another address', async () => {
      const after = await scene.status('vm2').catch(() => undefined);
      return after !== undefined && after.ipv4 !== before.ipv4 && after.admittedBy === other;
    });
    const after = await scene.status('vm2');
    await untilAnswered(vm1.ns, after.ipv4, AbortSignal.timeout(60_000));
    assert.deepEqual(after.conflicts, []);
    assert.doesNotMatch(await vm2.ns.ip('address'), new RegExp(`${before.ipv4}/`));
  });
});
