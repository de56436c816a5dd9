/**
 * 200 VMs behind one NAT address that start at the same moment, alone and while one other host
 * floods the super-peer with admissions that it never finishes: how many are refused, by being told
 * that it is busy or by having their connection closed. Those that took too long did so because all
 * 200 compute on this machine at the same moment, which 200 machines would not.
 *
 *   node benchmarks/admission/whole-nat.ts [VMs=200]
 */
import { median, print, round, startWorld } from './whole-world.ts';

const count = Number(process.argv[2] ?? 200);
const PROCESSES = 2;
const STRANGERS = 128;
const REFUSED = /too many admissions|does not admit|ECONNRESET|closed/i;

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
  const done = await Promise.all(vms.map((each) => each.call('admit', { parallel: count })));
  const { sent } = await stranger.call('flood', { on: false });
  const failed = done.flatMap((each) => each.failed);
  results.push({
    what: flood ? 'one NAT address, beside a flood' : 'one NAT address',
    n: count,
    refused: failed.filter((why) => REFUSED.test(why)).length,
    tookTooLong: failed.filter((why) => !REFUSED.test(why)).length,
    why: failed[0],
    seconds: round(Math.max(...done.map((each) => each.seconds))),
    medianMs: round(median(done.flatMap((each) => each.took))),
    floodOpenings: sent,
  });
}
print({}, results);
