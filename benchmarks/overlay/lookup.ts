/**
 * How far a lookup goes in tier 2 as it grows: gates and DHTs of all nodes on loopback, 60 in each of several
 * processes.
 *
 *     node benchmarks/overlay/lookup.ts [sizes=10,100,1000] [lookups=30]
 *
 * Prints a line of JSON for each size, and one with the least-squares fit of hops = a + b ln n. A hop is a peer of
 * which the one before told; connections are there already or made on the way, as in a running service.
 */
import { randomInt } from 'node:crypto';
import { identity, nth } from '../../test/unit/overlay/harness.ts';
import { Child } from '../child.ts';
import { median, round, sum } from '../statistics.ts';
import { identityText } from './identity-text.ts';
import type { Found, TierCalls } from './tier-child.ts';

const [sizes = '10,100,1000', lookups = '30'] = process.argv.slice(2);
/** Nodes that join at the same time, in one process. */
const PARALLEL = 3;
/** Each has up to some 200 connections and listens; a process may have 20,000 files open. */
const NODES_OF_ONE_PROCESS = 60;

const [service, superPeer] = [identityText(await identity()), identityText(await identity())];
const children: { readonly child: Child<TierCalls>; nodes: number }[] = [];
/** Of every node. */
const known: (readonly string[])[] = [];

interface Result {
  readonly nodes: number;
  readonly joinsPerSecond: number;
  readonly meanHops: number;
}

const results: Result[] = [];
for (const n of sizes.split(',').map(Number)) {
  const began = performance.now();
  const before = known.length;
  await grow(n);
  const joinsPerSecond = round(((n - before) / (performance.now() - began)) * 1000, 2);
  const result = { nodes: n, joinsPerSecond, ...(await measure(Number(lookups))) };
  console.log(JSON.stringify(result));
  results.push(result);
}
for (const { child } of children) await child[Symbol.asyncDispose]();
console.log(JSON.stringify({ fit: logarithmicFit(results) }));
process.exit(0);

/** Lets all processes grow, two of them at a time, until there are `n` nodes. */
async function grow(n: number): Promise<void> {
  while (children.length * NODES_OF_ONE_PROCESS < n) {
    const child = new Child<TierCalls>(new URL('tier-child.ts', import.meta.url));
    await child.call('start', { service, superPeer });
    children.push({ child, nodes: 0 });
  }
  while (known.length < n) {
    const open = children.filter(({ nodes }) => nodes < NODES_OF_ONE_PROCESS).slice(0, 2);
    await Promise.all(open.map((each) => join(each, n)));
  }
}

async function join(into: { readonly child: Child<TierCalls>; nodes: number }, n: number) {
  const room = Math.min(PARALLEL, n - known.length, NODES_OF_ONE_PROCESS - into.nodes);
  if (room <= 0) return;
  into.nodes += room;
  const some = Array.from({ length: Math.min(3, known.length) }, () =>
    nth(known, randomInt(known.length)),
  );
  known.push(...(await into.child.call('join', { count: room, known: some })));
}

/** One lookup after the other, of all processes in turn. */
async function measure(count: number) {
  const found: Found[] = [];
  const used = children.filter(({ nodes }) => nodes > 0);
  for (let i = 0; i < count; i++) {
    const { child } = nth(used, i % used.length);
    found.push(await child.call('lookup', { number: i * 7 }));
  }
  const tables = await Promise.all(used.map(({ child }) => child.call('tables', null)));
  return {
    meanHops: mean(found.map(({ hops }) => hops)),
    mostHops: Math.max(...found.map(({ hops }) => hops)),
    meanQuestions: mean(found.map(({ questions }) => questions)),
    lookupMsMedian: round(median(found.map(({ ms }) => ms)), 2),
    meanRoutingTable: mean(tables.flat()),
  };
}

/** Least squares of hops = a + b ln n. */
function logarithmicFit(all: readonly { nodes: number; meanHops: number }[]) {
  const x = all.map(({ nodes }) => Math.log(nodes));
  const y = all.map(({ meanHops }) => meanHops);
  const [meanX, meanY] = [mean(x), mean(y)];
  const covariance = mean(x.map((each, i) => (each - meanX) * (nth(y, i) - meanY)));
  const b = covariance / mean(x.map((each) => (each - meanX) ** 2));
  return { a: round(meanY - b * meanX, 2), b: round(b, 2) };
}

function mean(list: readonly number[]): number {
  return round(sum(list) / list.length, 2);
}
