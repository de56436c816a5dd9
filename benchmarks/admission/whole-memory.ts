/**
 * What a super-peer keeps for each half-open admission and for each admitted, attached member.
 *
 *   node benchmarks/admission/whole-memory.ts [half-open=200] [members=500,1000]
 *
 * Bytes by which its process grows, after garbage collection: heap with buffers, and resident set,
 * which has the garbage collector's slack in it besides. The connection is counted in. Each process of
 * VMs stays attached to the end, so that nothing is given back in between.
 */

import { round } from '../statistics.ts';
import { print, startWorld } from './whole-world.ts';

const [halfOpen = '200', members = '500,1000'] = process.argv.slice(2);
/**
 * A super-peer that has done this before: its code is compiled and its pools have grown. With the members
 * no more than the 1,022 addresses that one super-peer has to give.
 */
const WARM_UP = 20;
const KIB = 1024;

await using world = await startWorld(1);
const { service, superPeers } = world;
const [superPeer] = superPeers;
if (superPeer === undefined) throw new Error('there must be a super-peer');
const results: object[] = [];

/** Grows the super-peer by `count` VMs. @returns KiB for each */
async function growth(what: string, count: number, grow: () => Promise<number>): Promise<void> {
  const before = await superPeer?.call('sample', null);
  const n = await grow();
  const after = await superPeer?.call('sample', null);
  if (before === undefined || after === undefined) throw new Error('no sample');
  const each = (key: 'heap' | 'rss') => round((after[key] - before[key]) / n / KIB);
  results.push({ what, n, missed: count - n, heapKiBEach: each('heap'), rssKiBEach: each('rss') });
}

const warm = world.vms();
await warm.call('make', { service, count: WARM_UP, first: 0 });
await warm.call('admit', { parallel: 8 });
await warm.call('attach', { parallel: 8 });

let first = WARM_UP;
let admitted = 0;
for (const total of members.split(',').map(Number)) {
  const count = total - admitted;
  const vms = world.vms();
  await vms.call('make', { service, count, first });
  await growth(`member, ${admitted} to ${total}`, count, async () => {
    await vms.call('admit', { parallel: 8 });
    return (await vms.call('attach', { parallel: 8 })).attached;
  });
  first += count;
  admitted = total;
}
const strangers = world.vms();
await strangers.call('make', { service, count: Number(halfOpen), first });
await growth('half-open admission', Number(halfOpen), async () => {
  return (await strangers.call('beginOnly', null)).challenged;
});
const { members: listed } = await superPeer.call('sample', null);
print({ membersListed: listed }, results);
