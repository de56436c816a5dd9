/**
 * Whole admissions a second (dial, Noise, SRP, confirmation, credential, membership record) through
 * 1, 2, 4 and 8 super-peers, each a process, the VMs in two processes of their own.
 *
 *   node benchmarks/admission/whole.ts [VMs=250] [rounds=3]
 *
 * VMs and super-peers share the machine's processors, so what limits is often the machine as a whole.
 * What each admission costs a super-peer in processor time tells what it could do by itself.
 */

import { median, round, sum } from '../statistics.ts';
import { print, startWorld } from './whole-world.ts';

const [count = 250, rounds = 3] = process.argv.slice(2).map(Number);
const PROCESSES = 2;
const PARALLEL = 16;

async function measure(superPeers: number) {
  await using world = await startWorld(superPeers);
  const { service } = world;
  const clients = Array.from({ length: PROCESSES }, () => world.vms());
  const rates: number[] = [];
  const costs: number[] = [];
  const took: number[] = [];
  const failed: string[] = [];
  // The first round is for the code to be compiled.
  for (let n = 0; n <= rounds; n++) {
    const share = Math.ceil(count / PROCESSES);
    const makings = clients.map((each, i) =>
      each.call('make', { service, count: share, first: (n * PROCESSES + i) * share }),
    );
    await Promise.all(makings);
    await Promise.all(world.superPeers.map((each) => each.call('reset', null)));
    const done = await Promise.all(
      clients.map((each) => each.call('admit', { parallel: PARALLEL })),
    );
    const samples = await Promise.all(world.superPeers.map((each) => each.call('sample', null)));
    failed.push(...done.flatMap((each) => each.failed));
    if (n === 0) continue;
    const admitted = sum(done.map((each) => each.admitted));
    rates.push(admitted / Math.max(...done.map((each) => each.seconds)));
    costs.push((sum(samples.map(({ cpu }) => cpu)) / admitted) * 1000);
    took.push(...done.flatMap((each) => each.took));
  }
  return {
    superPeers,
    n: took.length,
    refused: failed.length,
    ...(failed.length > 0 && { why: failed[0] }),
    admissionsPerSecond: round(median(rates)),
    superPeerCpuMsEach: round(median(costs), 2),
    perSuperPeerCpuSecond: round(1000 / median(costs)),
    medianMs: round(median(took)),
  };
}

const results = [];
for (const superPeers of [1, 2, 4, 8]) results.push(await measure(superPeers));
print({ vms: count, rounds, vmProcesses: PROCESSES }, results);
