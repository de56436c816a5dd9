import assert from 'node:assert/strict';
import { on } from 'node:events';
import { GATE_PRIORITY } from '../../../src/ipsec/dataplane/policies.ts';
import type { DataPlane } from '../../../src/ipsec/dataplane.ts';
import type { Netns } from '../netns.ts';
import { captureClear } from './clear-capture.ts';
import { B, establish, retire, twoPlanes, underlay } from './planes.ts';

const BOTH = Object.values(B.virtualAddresses);
const OUT = ['dir', 'out', 'src', '10.90.0.10/32', 'dst', '10.90.0.11/32'];
const IN = ['dir', 'in', 'src', '10.90.0.11/32', 'dst', '10.90.0.10/32'];

const answered = async (ns: Netns, address: string): Promise<boolean> =>
  (await ns.exec('ping', ['-c', '1', '-W', '10', address])).stdout.includes('1 received');

/** What comes back may do so in another order. */
const policies = async (ns: Netns): Promise<string> =>
  (await ns.ip('xfrm', 'policy'))
    .split(/^(?=src )/m)
    .sort()
    .join('');

async function restored(plane: DataPlane, ns: Netns, intended: string): Promise<void> {
  const repairs = on(plane, 'repaired', { signal: AbortSignal.timeout(60_000) });
  while ((await policies(ns)) !== intended) {
    // It may have been repaired before anybody listened.
    await Promise.race([repairs.next(), new Promise((resolve) => setTimeout(resolve, 100))]);
  }
}

describe('what others change of states and policies', function () {
  this.timeout(120_000);

  it('P31 P17 policies that are flushed, deleted or altered are put back, under traffic', async () => {
    await using lab = await underlay();
    const { a, deviceA } = lab;
    await using planes = await twoPlanes(lab);
    const { planeA, planeB } = planes;
    const traps = await policies(a);
    await using capture = await captureClear(a, deviceA);
    const floods = BOTH.map((address) => a.start('ping', ['-q', '-i', '0.01', address]));
    await a.ip('xfrm', 'policy', 'flush');
    await restored(planeA, a, traps); // packets wait as before
    await establish(planeA, planeB);
    while ((await policies(a)).includes(`priority ${GATE_PRIORITY}`))
      await answered(a, BOTH[0] ?? '');
    const intended = await policies(a);
    for (const change of [
      ['flush'],
      ['delete', ...OUT, 'if_id', '77'],
      ['update', ...IN, 'if_id', '77', 'priority', '65536'],
    ]) {
      await a.ip('xfrm', 'policy', ...change);
      await restored(planeA, a, intended);
      for (const address of BOTH) assert.ok(await answered(a, address), change.join(' '));
    }
    await capture.none('policies that are gone');
    for (const flood of floods) await flood[Symbol.asyncDispose]();
    assert.equal(planeA.unsound, undefined);
  });

  it('P31 P14 SAs that are flushed or deleted are told as lost, whichever it is, and new ones carry', async () => {
    await using lab = await underlay();
    const { a, deviceA } = lab;
    await using planes = await twoPlanes(lab);
    const { planeA, planeB } = planes;
    await using capture = await captureClear(a, deviceA);
    const floods = BOTH.map((address) => a.start('ping', ['-q', '-i', '0.01', address]));
    const lost = on(planeA, 'lost', { signal: AbortSignal.timeout(60_000) });
    const hear = async (count: number): Promise<string[]> => {
      const heard: string[] = [];
      while (heard.length < count) {
        const { value = [] } = await lost.next();
        const [{ direction, spi }] = value;
        heard.push(`${direction} ${spi}`);
      }
      return heard.sort();
    };
    const takeOne = (destination: string, spi: number) =>
      a.ip('xfrm', 'state', 'delete', 'dst', destination, 'proto', 'esp', 'spi', `${spi}`);
    let spis = await establish(planeA, planeB);
    for (const [take, gone] of [
      [() => a.ip('xfrm', 'state', 'flush'), ['in', 'out']],
      [() => takeOne('192.0.2.2', spis.toB), ['out']],
      [() => takeOne('192.0.2.1', spis.toA), ['in']],
    ] as const) {
      await take();
      const spiOf = { in: spis.toA, out: spis.toB };
      for (const direction of gone) {
        assert.equal(await planeA.packets('b', spiOf[direction], direction), undefined);
      }
      assert.deepEqual(
        await hear(gone.length),
        gone.map((direction) => `${direction} ${spiOf[direction]}`),
      );
      const before = spis;
      spis = await establish(planeA, planeB);
      await retire(planeA, planeB, before);
      for (const address of BOTH) assert.ok(await answered(a, address), gone.join());
    }
    await capture.none('SAs that are gone');
    for (const flood of floods) await flood[Symbol.asyncDispose]();
  });

  it('P31 takes no change of its own for one of others, also when it looks in the midst of it', async () => {
    await using lab = await underlay();
    const { a } = lab;
    await using planes = await twoPlanes(lab);
    const { planeA, planeB } = planes;
    const heard: unknown[] = [];
    planeA.on('lost', (notice) => heard.push(notice));
    planeA.on('repaired', (what) => heard.push(what));
    const foreign = 'dir out src 10.90.7.7/32 dst 10.90.8.8/32 if_id 77';
    const disturb = `while :; do ip xfrm policy add ${foreign}; ip xfrm policy delete ${foreign}; sleep 0.02; done`;
    await using disturbance = a.start('sh', ['-c', disturb]);
    assert.ok(disturbance.pid);
    for (let round = 0; round < 5; round++) {
      await retire(planeA, planeB, await establish(planeA, planeB));
      await planeA.removePeer('b');
      await planeA.addPeer(B, { local: '192.0.2.1', remote: '192.0.2.2' });
      await planeA.updatePeerUnderlay('b', { local: '2001:db8::1', remote: '2001:db8::2' });
      await planeA.updatePeerSubnets('b', [`10.91.${round}.0/24`]);
      await planeA.updatePeerUnderlay('b', { local: '192.0.2.1', remote: '192.0.2.2' });
    }
    assert.deepEqual(heard, []);
  });
});
