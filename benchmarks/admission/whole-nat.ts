/**
 * 200 VMs behind one NAT address that start at the same moment, each as `icvpn up` does, alone and
 * while one other host floods the super-peer with admissions that it never finishes: how many are
 * admitted, how many of them had to ask again, and how many were refused for good.
 *
 * All of them compute on this machine at the same moment, which 200 machines would not.
 *
 *   node benchmarks/admission/whole-nat.ts [VMs=200]
 */

import { median, round } from '../statistics.ts';
import { print, startWorld } from './whole-world.ts';

const count = Number(process.argv[2] ?? 200);
const PROCESSES = 2;
const STRANGERS = 128;

const results: object[] = [];
for (const flood of [false, true]) {
  await using world = await startWorld(1);
  const { service } = world;
  const share = { service, count: count / PROCESSES, first: 0, address: '127.255.7.7' };
  const vms = Array.from({ length: PROCESSES }, () => world.vms());
  await Promise.all(vms.map((each) => each.call('make', share)));
  const stranger = world.vms();
  await stranger.call('make', { ...share, count: STRANGERS, address: '127.255.9.9' });
  if (flood) await stranger.call('flood', { on: true });
  const done = await Promise.all(vms.map((each) => each.call('admitPatiently', null)));
  const { sent } = await stranger.call('flood', { on: false });
  const failed = done.flatMap((each) => each.failed);
  const again = done.flatMap((each) => each.again);
  results.push({
    what: flood ? 'one NAT address, beside a flood' : 'one NAT address',
    n: count,
    admitted: count - failed.length,
    refused: failed.length,
    askedAgain: again.length,
    why: failed[0] ?? again[0],
    seconds: round(Math.max(...done.map((each) => each.seconds))),
    medianMs: round(median(done.flatMap((each) => each.took))),
    floodOpenings: sent,
  });
}
print({}, results);
