/**
 * What a member notices of a flood of bogus admissions at its super-peer (one host, as fast as it
 * can, never finished): the time of a renewal at the flooded super-peer, and of a key exchange with
 * another member. Quiet and flooded rounds alternate.
 *
 *   node benchmarks/admission/whole-flood.ts [rounds=4] [a round=25]
 *
 * The flooder runs on the same processors as everybody else, at the lowest priority: the flood is to
 * cost the super-peer something, not to take the members' processors.
 */

import { median, round } from '../statistics.ts';
import { print, startWorld } from './whole-world.ts';

const [rounds = 4, times = 25] = process.argv.slice(2).map(Number);
const STRANGERS = 128;

await using world = await startWorld(1);
const { service, superPeers } = world;
const members = world.vms();
await members.call('make', { service, count: 2, first: 0, listen: true });
await members.call('admit', { parallel: 2 });
const stranger = world.vms();
const address = '127.255.9.9';
await stranger.call('make', { service, count: STRANGERS, first: 0, address, nice: 19 });
await members.call('exchange', { times: 10 });
await members.call('renew', { times: 10 });

type Times = { renewal: number[]; exchange: number[] };
const quiet: Times = { renewal: [], exchange: [] };
const flooded: Times = { renewal: [], exchange: [] };
let [sent, seconds] = [0, 0];
for (let n = 0; n < rounds; n++) {
  for (const at of [quiet, flooded]) {
    if (at === flooded) await stranger.call('flood', { on: true });
    const begin = performance.now();
    at.renewal.push(...(await members.call('renew', { times })).took);
    at.exchange.push(...(await members.call('exchange', { times })).took);
    if (at === quiet) continue;
    seconds += (performance.now() - begin) / 1000;
    sent += (await stranger.call('flood', { on: false })).sent;
  }
}
const results = (['exchange', 'renewal'] as const).map((what) => ({
  what,
  n: flooded[what].length,
  quietMs: round(median(quiet[what]), 2),
  floodedMs: round(median(flooded[what]), 2),
  ratio: round(median(flooded[what]) / median(quiet[what]), 2),
}));
const { rss } = (await superPeers[0]?.call('sample', null)) ?? { rss: 0 };
print({ openingsPerSecond: round(sent / seconds), superPeerRssMiB: round(rss / 2 ** 20) }, results);
