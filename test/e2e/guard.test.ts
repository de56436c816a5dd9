import assert from 'node:assert/strict';
import { untilAnswered } from '../../examples/demo/ping.ts';
import type { TestProcess } from '../lab/process.ts';
import { Scene, until } from './scene.ts';

// What a member leaves in the kernel, and what of it holds, from its start to after its end; with real processes.

const FLOOD = new URL('../lab/ipsec/flood-child.ts', import.meta.url);

describe('guard of a member', function () {
  this.timeout(180_000);
  let scene: Scene;
  before(async () => {
    scene = await Scene.build();
  });
  after(() => scene[Symbol.asyncDispose]());

  it('P17 P31 P32 nothing in clear while it runs, is disturbed, stopped, killed, started again and left', async () => {
    const [vm1, vm2] = scene.net.vms;
    const [router] = scene.net.routers;
    let daemon: TestProcess = await scene.up(vm1, 'vm1');
    await scene.up(vm2, 'vm2');
    const [own, peer] = [await scene.status('vm1'), await scene.status('vm2')];
    await untilAnswered(vm1.ns, peer.ipv4, AbortSignal.timeout(60_000));
    const clear = [own.ipv4, own.ipv6, peer.ipv4, peer.ipv6].map((each) => `host ${each}`);
    const watch = ['-i', 'any', '-nl', '--immediate-mode', '-Z', 'root', clear.join(' or ')];
    await using capture = router.start('tcpdump', watch);
    await capture.said('listening on');
    await using floods = new AsyncDisposableStack();
    const all = (['ipv4', 'ipv6'] as const).map((family) =>
      floods.use(vm1.ns.node(FLOOD, [own[family], peer[family]])),
    );
    const goOn = async (): Promise<void> => {
      for (const flood of all) for (let line = 0; line < 2; line++) await flood.line();
    };
    const tables = (): Promise<string> => vm1.ns.run('nft', ['list', 'tables']);

    await goOn();
    await vm1.ns.run('nft', ['flush', 'ruleset']);
    await until('the guard is back', async () => /icvpn_guard_/.test(await tables()));
    await vm1.ns.ip('rule', 'flush');
    await vm1.ns.ip('rule', 'add', 'pref', '32766', 'lookup', 'main');
    await vm1.ns.ip('link', 'delete', 'icvpn0');
    await untilAnswered(vm1.ns, peer.ipv4, AbortSignal.timeout(60_000));
    assert.match(daemon.stderr, / kernel-repaired /);
    await vm2.ns.ip('xfrm', 'state', 'flush');
    await untilAnswered(vm1.ns, peer.ipv4, AbortSignal.timeout(60_000));
    await vm2.ns.ip('xfrm', 'policy', 'flush');
    await vm2.ns.ip('xfrm', 'state', 'flush');
    await untilAnswered(vm1.ns, peer.ipv6, AbortSignal.timeout(60_000));

    assert.equal(await daemon.terminate(), 0);
    await goOn();
    assert.match(await tables(), /icvpn_guard_/, 'it may come back');
    daemon = await scene.up(vm1, 'vm1');
    await goOn();
    process.kill(daemon.pid, 'SIGKILL');
    await daemon.ended();
    await goOn();
    await scene.up(vm1, 'vm1');
    await goOn();
    await scene.down(vm1, 'vm1');
    await goOn();
    assert.match(await tables(), /icvpn_guard_/, 'a socket has the address still');
    await floods.disposeAsync();
    await scene.down(vm1, 'vm1');
    assert.doesNotMatch(await tables(), /icvpn_guard_/);
    assert.doesNotMatch(await vm1.ns.ip('rule'), /proto 73/);

    // The capture itself works: what is not for the service any more is let out, and seen.
    await vm1.ns.exec('ping', ['-c', '1', '-W', '0.1', peer.ipv4]);
    assert.match(await capture.line(), /ICMP echo request, id \d+, seq 1,/);
  });
});
