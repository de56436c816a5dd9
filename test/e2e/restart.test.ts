import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { untilAnswered } from '../../examples/demo/ping.ts';
import { SecureCache } from '../../src/keymgmt/cache/secure-cache.ts';
import type { TestProcess } from '../lab/process.ts';
import { Scene, until } from './scene.ts';

// A member that starts while no super-peer is up.

describe('a restart without super-peers', function () {
  this.timeout(240_000);
  let scene: Scene;
  let daemon: TestProcess;
  before(async () => {
    scene = await Scene.build();
  });
  after(() => scene[Symbol.asyncDispose]());

  it('P30 P12 is up from its cache, with its policy, and reaches the peer that it knew', async () => {
    const [vm1, vm2] = scene.net.vms;
    daemon = await scene.up(vm1, 'vm1');
    await scene.up(vm2, 'vm2');
    const { ipv4: second } = await scene.status('vm2');
    await untilAnswered(vm1.ns, second, AbortSignal.timeout(60_000));
    await until('vm2 is kept', async () => {
      const { members } = await scene.status('vm1');
      return members.length === 2;
    });
    // The list is written at an orderly end at the latest.
    await scene.down(vm1, 'vm1');
    for (const [i, each] of scene.net.superPeers.entries()) {
      await scene.done(each, 'down', '--state', scene.file(`sp${i}`));
    }
    daemon = await scene.up(vm1, 'vm1');
    const status = await scene.status('vm1');
    assert.equal(status.superPeer, null);
    assert.match(status.waiting ?? '', /^waits for a super-peer of the service \(/);
    await untilAnswered(vm1.ns, second, AbortSignal.timeout(60_000));
    process.kill(daemon.pid, 'SIGKILL');
    await daemon.ended();
    daemon = await scene.up(vm1, 'vm1');
    const { ipv4: first } = await scene.status('vm1');
    await untilAnswered(vm2.ns, first, AbortSignal.timeout(60_000));
  });

  it('P30 joins when a super-peer is up again', async () => {
    await scene.runSuperPeer(1);
    await until('attached', async () => {
      const { superPeer, waiting, members } = await scene.status('vm1');
      return superPeer !== null && waiting === null && members.length === 2;
    });
  });

  it('P23 the service secret is not in the cache of a member', async () => {
    const { secret } = JSON.parse(await readFile(scene.file('shop.json'), 'utf8'));
    await scene.down(scene.net.vms[0], 'vm1');
    await using cache = await SecureCache.open(scene.file('vm1/cache'));
    assert.ok((await readdir(scene.file('vm1/cache'))).includes('bootstrap.entry'));
    for (const name of await cache.names()) {
      const text = Buffer.from((await cache.get(name)) ?? []).toString('latin1');
      assert.ok(!text.includes(secret), name);
    }
  });
});
