import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { untilAnswered } from '../../examples/demo/ping.ts';
import { startStreams } from '../lab/ipsec/streams.ts';
import type { TestProcess } from '../lab/process.ts';
import { count, drops, Scene, spis, until } from './scene.ts';

// vm1 and vm2 in cloud a, vm3 in cloud b, 20 ms away. The SAs of vm1 last for ten seconds only.

const SA_LIFETIME = '10';
const SOFT_LIMIT = fileURLToPath(new URL('soft-limit.ts', import.meta.url));
const PACKETS = 2_500;
const INTERVAL_SECONDS = 0.02;

describe('new keys for SAs in use', function () {
  this.timeout(300_000);
  let scene: Scene;
  let vm1Daemon: TestProcess;
  let vm3Daemon: TestProcess;
  before(async () => {
    scene = await Scene.build();
    const [vm1, vm2, vm3] = scene.net.vms;
    vm1Daemon = await scene.up(vm1, 'vm1', '--sa-lifetime', SA_LIFETIME);
    await scene.up(vm2, 'vm2');
    vm3Daemon = await scene.up(vm3, 'vm3');
  });
  after(() => scene[Symbol.asyncDispose]());

  it('P15 two members that begin at the same moment have one pair of SAs', async () => {
    const [, vm2, vm3] = scene.net.vms;
    const { ipv4: second } = await scene.status('vm2');
    const { ipv4: third } = await scene.status('vm3');
    const limit = AbortSignal.timeout(60_000);
    await Promise.all([untilAnswered(vm2.ns, third, limit), untilAnswered(vm3.ns, second, limit)]);
    const [there, back] = [
      [vm2.address, vm3.address],
      [vm3.address, vm2.address],
    ] as const;
    const one = async (): Promise<boolean> => {
      const all = [
        await spis(vm2.ns, ...there),
        await spis(vm3.ns, ...there),
        await spis(vm2.ns, ...back),
        await spis(vm3.ns, ...back),
      ];
      const [a, b, c, d] = all;
      return all.every((each) => each.length === 1) && a?.[0] === b?.[0] && c?.[0] === d?.[0];
    };
    await until('one pair, the same at both ends', one);
  });

  it('P14 streams go through rekey after rekey, nothing lost and no drop counted', async () => {
    const [vm1, , vm3] = scene.net.vms;
    const { ipv4 } = await scene.status('vm3');
    await untilAnswered(vm1.ns, ipv4, AbortSignal.timeout(60_000));
    const before = await Promise.all([drops(vm1.ns), drops(vm3.ns)]);
    const rekeys = count(vm1Daemon.stderr, ' sa-installed ');
    const pings = ['-n', '-q', '-i', String(INTERVAL_SECONDS), '-W', '5', '-c', String(PACKETS)];
    await using streams = await startStreams(vm1.ns, vm3.ns, ipv4);
    const { stdout } = await vm1.ns.exec('ping', [...pings, ipv4], { timeoutMs: 150_000 });
    await streams.endWithNothingLost();
    assert.match(stdout, new RegExp(`${PACKETS} packets transmitted, ${PACKETS} received`));
    const made = count(vm1Daemon.stderr, ' sa-installed ') - rekeys;
    assert.ok(made >= (PACKETS * INTERVAL_SECONDS) / Number(SA_LIFETIME) - 1, `${made} rekeys`);
    assert.deepEqual(await Promise.all([drops(vm1.ns), drops(vm3.ns)]), before);
    assert.doesNotMatch(vm1Daemon.stderr + vm3Daemon.stderr, / sa-ended /);
  });

  it('P15 both ends rekey at once: one pair of SAs, and nothing lost', async () => {
    const [, vm2, vm3] = scene.net.vms;
    const [there, back] = [
      [vm2.address, vm3.address],
      [vm3.address, vm2.address],
    ] as const;
    const { ipv4 } = await scene.status('vm3');
    await using ping = vm2.ns.start('ping', ['-n', '-i', '0.05', '-c', '200', ipv4]);
    await ping.line();
    for (let round = 0; round < 5; round++) {
      const [[a = ''], [b = '']] = [await spis(vm2.ns, ...there), await spis(vm3.ns, ...back)];
      await using first = vm2.ns.node(SOFT_LIMIT, [...there, a]);
      await using second = vm3.ns.node(SOFT_LIMIT, [...back, b]);
      // Both programs run before either speaks: one that starts late would find its SA replaced.
      await Promise.all([first.line(), second.line()]);
      for (const each of [first, second]) each.send('now');
      assert.deepEqual(
        await Promise.all([first.ended(), second.ended()]),
        [0, 0],
        first.stderr + second.stderr,
      );
      await until('one new pair, the same at both ends', async () => {
        const [out, back2] = [await spis(vm2.ns, ...there), await spis(vm3.ns, ...back)];
        if (out.length !== 1 || back2.length !== 1 || out[0] === a || back2[0] === b) return false;
        const heard = [await spis(vm3.ns, ...there), await spis(vm2.ns, ...back)];
        return (
          heard[0]?.includes(out[0] ?? '') === true && heard[1]?.includes(back2[0] ?? '') === true
        );
      });
    }
    let last = '';
    while (!last.includes(' packets transmitted')) last = await ping.line();
    assert.match(last, /200 packets transmitted, 200 received/);
  });
});
