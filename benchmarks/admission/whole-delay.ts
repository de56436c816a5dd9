/**
 * How late the event loop of a super-peer is (99th percentile, in milliseconds) while VMs that are
 * connected are admitted at a steady rate: SRP and all that follows it, without dialling.
 *
 *   node benchmarks/admission/whole-delay.ts [seconds=8] [rates=0,100,250,500]
 *
 * The machine must run the VMs' half of SRP too; the rate reached stands beside the one asked for.
 * A bystander, a process that does nothing at all, is measured at the same time: what it is late by
 * is the machine's doing and not the super-peer's.
 */

import { round } from '../statistics.ts';
import { print, startWorld } from './whole-world.ts';

const [seconds = '8', rates = '0,100,250,500'] = process.argv.slice(2);
const VMS = 200;
const PARALLEL = 32;

await using world = await startWorld(1);
const { service, superPeers } = world;
const [superPeer] = superPeers;
if (superPeer === undefined) throw new Error('there must be a super-peer');
const bystander = world.bystander();
const vms = world.vms();
await vms.call('make', { service, count: VMS, first: 0 });
let { failed } = await vms.call('admit', { parallel: 8 });
const results: object[] = [];
for (const rate of rates.split(',').map(Number)) {
  await Promise.all([superPeer, bystander].map((each) => each.call('reset', null)));
  const wanted = { parallel: PARALLEL, seconds: Number(seconds), rate };
  const done = await vms.call('admitAgain', wanted);
  const { delay, cpu } = await superPeer.call('sample', null);
  const { delay: machine } = await bystander.call('sample', null);
  failed = [...failed, ...done.failed];
  results.push({
    asked: rate,
    reached: round(done.admitted / done.seconds),
    n: done.admitted,
    delayP50: round(delay.p50, 2),
    delayP99: round(delay.p99, 2),
    delayMax: round(delay.max),
    bystanderP50: round(machine.p50, 2),
    bystanderP99: round(machine.p99, 2),
    superPeerCpuMsEach: done.admitted > 0 ? round((cpu / done.admitted) * 1000, 2) : 0,
  });
}
print({ seconds: Number(seconds), failed: failed.length, why: failed[0] }, results);
