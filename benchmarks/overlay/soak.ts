/**
 * Runs many nodes in a bad network, on a seed, and checks what the tests check. Prints one JSON line a run; a
 * failure prints its seed and the last messages.
 *
 *     node benchmarks/overlay/soak.ts [what=records] [nodes=1000] [steps=2000] [runs=1] [seed=random]
 *
 * records: members write, read and end records (test/unit/overlay/convergence.ts).
 * service: 32 of the nodes are super-peers of a service with nodes / 2 members, who come, move, leave and are
 * revoked; super-peers crash; policies are published (test/unit/overlay/service-convergence.ts).
 */
import { randomInt } from 'node:crypto';
import { converge } from '../../test/unit/overlay/convergence.ts';
import { convergeService } from '../../test/unit/overlay/service-convergence.ts';

const [what = 'records', ...numbers] = process.argv.slice(2);
const [nodes = 1000, steps = 2000, runs = 1, seed = randomInt(2 ** 32 - 1)] = numbers.map(Number);
const size = { nodes, replicas: 20, steps };
const members = Math.floor(nodes / 2);
const superPeers = Math.min(32, nodes);
const kinds: Record<string, (seed: number) => Promise<{ delivered: number; time: number }>> = {
  records: (own) => converge({ seed: own, ...size }),
  service: (own) => convergeService({ seed: own, ...size, superPeers, members }),
};
const start = kinds[what];
if (start === undefined) {
  console.error(`say what to run: ${Object.keys(kinds).join(' or ')}`);
  process.exit(2);
}
for (let run = 0; run < runs; run++) {
  const began = performance.now();
  const { delivered, time } = await start(seed + run);
  const seconds = (performance.now() - began) / 1000;
  const record = { what, nodes, steps, seed: seed + run, delivered };
  console.log(JSON.stringify({ ...record, virtualSeconds: time / 1000, seconds }));
}
