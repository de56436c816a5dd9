import assert from 'node:assert/strict';
import { UsageWatch } from '../../../src/daemon/pair/usage-watch.ts';
import type { SaCounters } from '../../../src/ipsec/dataplane.ts';
import { until } from './until.ts';

const sa = (peerId: string, spi: number): SaCounters => ({
  ...{ peerId, spi, direction: 'in', addedAt: 0 },
  ...{ packets: 1n, bytes: 100n },
});

describe('reading of the kernel’s counters', () => {
  it('gives each peer its own, one reading at a time, goes on after a failure, and stops', async () => {
    let [readings, atOnce, most] = [0, 0, 0];
    const heard: [string, number[]][] = [];
    const log: string[] = [];
    const counters = async (): Promise<SaCounters[]> => {
      most = Math.max(most, ++atOnce);
      await new Promise((resolve) => setTimeout(resolve, 12));
      atOnce--;
      if (++readings === 1) throw new Error('the kernel is busy');
      return [sa('a', 1), sa('b', 2), sa('a', 3)];
    };
    let wanted = false;
    let looks = 0;
    const watch = new UsageWatch({
      dataPlane: { counters },
      wanted: () => {
        looks++;
        return wanted;
      },
      onUsage: (peerId, usage) => heard.push([peerId, usage.map(({ spi }) => spi)]),
      log: (event) => log.push(event),
      interval: 4,
    });
    await until('some looks', () => looks >= 3);
    assert.equal(readings, 0, 'no pair has SAs: the kernel is left alone');
    wanted = true;
    await until('two good readings', () => heard.length >= 4);
    await watch[Symbol.asyncDispose]();
    const before = looks;
    let ticks = 0;
    const timer = setInterval(() => ticks++, 4);
    await until('time for more looks', () => ticks >= 3);
    clearInterval(timer);
    assert.equal(looks, before);
    assert.equal(most, 1);
    assert.deepEqual(log, ['counters-failed']);
    assert.deepEqual(heard.slice(0, 2), [
      ['a', [1, 3]],
      ['b', [2]],
    ]);
  });
});
