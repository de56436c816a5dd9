import assert from 'node:assert/strict';
import { untilAnswered } from '../../examples/demo/ping.ts';
import { Scene, spis, until } from './scene.ts';

// An owner who begins epochs faster than members can follow, and throws two of three members out.

describe('epochs that follow each other at once', function () {
  this.timeout(240_000);
  let scene: Scene;
  before(async () => {
    scene = await Scene.build();
    for (const [i, vm] of scene.net.vms.entries()) await scene.up(vm, `vm${i + 1}`);
  });
  after(() => scene[Symbol.asyncDispose]());

  it('P36 P11 members end in the newest one by themselves, and hear what is revoked after it', async () => {
    const [vm1, vm2] = scene.net.vms;
    const { peerId: third } = await scene.status('vm3');
    await scene.owner('revoke', third);
    await scene.owner('service', 'update', '--new-epoch');
    await scene.owner('service', 'publish');
    for (const name of ['vm1', 'vm2']) {
      await until(`${name} in epoch 3`, async () => {
        const { epoch, members, superPeer } = await scene.status(name);
        return epoch === 3 && members.length === 2 && superPeer !== null;
      });
    }
    const { peerId: second, ipv4 } = await scene.status('vm2');
    await untilAnswered(vm1.ns, ipv4, AbortSignal.timeout(60_000));
    await scene.owner('revoke', second);
    await until('vm1 hears it', async () => {
      const { epoch, members } = await scene.status('vm1');
      const left = await spis(vm1.ns, vm1.address, vm2.address);
      return epoch === 4 && members.length === 1 && left.length === 0;
    });
    await until('vm2 hears it', async () => (await scene.status('vm2')).revoked);
  });

  it('P34 a revoked member says so: status, its exit code, and up', async () => {
    const [, vm2] = scene.net.vms;
    const state = ['--state', scene.file('vm2')];
    const text = await scene.icvpn(vm2, 'status', ...state);
    assert.equal(text.code, 4);
    assert.match(text.stdout, /^REVOKED: this VM was thrown out/m);
    assert.match(text.stderr, /^icvpn: this VM was revoked: .*the service's owner/);
    const json = await scene.icvpn(vm2, 'status', '--json', ...state);
    assert.equal(json.code, 4);
    assert.equal(JSON.parse(json.stdout).revoked, true);
    assert.equal(JSON.parse(json.stderr).error.code, 'ERR_REVOKED');
    await scene.down(vm2, 'vm2');
    for (const how of [[], ['--foreground']]) {
      const { code, stderr } = await scene.icvpn(vm2, 'up', ...state, ...how);
      assert.equal(code, 4, stderr);
      assert.match(stderr, /this VM was revoked/);
    }
  });
});
