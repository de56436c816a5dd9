/**
 * How far a lookup goes in tier 2 as it grows: gates and DHTs of all nodes in this process, on loopback.
 *
 *     node benchmarks/overlay/lookup.ts [sizes=10,100,1000] [lookups=30]
 *
 * Prints JSON with the least-squares fit of hops = a + b ln n. A hop is a peer of which the one before told;
 * connections are there already or made on the way, as in a running service.
 */
import type { Trust } from '../../src/overlay/gate.ts';
import {
  addresses,
  credentialFor,
  type Identity,
  identity,
  listen,
  nth,
  Tier,
} from '../../test/unit/overlay/harness.ts';

const [sizes = '10,100,1000', lookups = '30'] = process.argv.slice(2);
/** Nodes started at the same time: they share one process. */
const PARALLEL = 5;

const service = await identity();
const superPeer = await identity();
const trust = (): Trust => ({ epoch: 1, admitters: [superPeer.id] });
const tiers: Tier[] = [];
const results: { nodes: number; meanHops: number }[] = [];
for (const n of sizes.split(',').map(Number)) {
  while (tiers.length < n) {
    const batch = Array.from({ length: Math.min(PARALLEL, n - tiers.length) }, join);
    tiers.push(...(await Promise.all(batch)));
  }
  results.push({ nodes: n, ...(await measure(Number(lookups))) });
}
console.log(JSON.stringify({ fit: logarithmicFit(results), results }));
process.exit(0);

async function join(): Promise<Tier> {
  const { key, id }: Identity = await identity();
  const credential = await credentialFor(service.id, superPeer.key, id);
  const tier = new Tier(await listen(key), service.id, () => credential.bytes, trust);
  await tier.start();
  const known = tiers.slice(-3).map(({ gate }) => addresses(gate.host));
  // On a busy machine a handshake may run out of time.
  for (let tries = 5; known.length > 0 && tries > 0; tries--) {
    if ((await tier.dht.join(known).catch(() => 0)) > 0) break;
  }
  await tier.dht.closest(id.toString());
  return tier;
}

async function measure(count: number) {
  const hops: number[] = [];
  const questions: number[] = [];
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    const found = await nth(tiers, (i * 7) % tiers.length).dht.closest(`key ${i}`);
    times.push(performance.now() - began);
    hops.push(found.hops);
    questions.push(found.questions);
  }
  const table = tiers.map(({ dht }) => dht.size);
  return {
    meanHops: mean(hops),
    mostHops: Math.max(...hops),
    meanQuestions: mean(questions),
    lookupMsMedian: round(times.toSorted((a, b) => a - b)[Math.floor(count / 2)] ?? Number.NaN),
    meanRoutingTable: mean(table),
  };
}

/** Least squares of hops = a + b ln n. */
function logarithmicFit(all: readonly { nodes: number; meanHops: number }[]) {
  const x = all.map(({ nodes }) => Math.log(nodes));
  const y = all.map(({ meanHops }) => meanHops);
  const [meanX, meanY] = [mean(x), mean(y)];
  const covariance = mean(x.map((each, i) => (each - meanX) * (nth(y, i) - meanY)));
  const b = covariance / mean(x.map((each) => (each - meanX) ** 2));
  return { a: round(meanY - b * meanX), b: round(b) };
}

function mean(list: readonly number[]): number {
  return round(list.reduce((sum, each) => sum + each, 0) / list.length);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
