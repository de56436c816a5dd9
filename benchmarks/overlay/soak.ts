/**
 * Runs the record layer of many nodes in a bad network, on a seed, and checks what the tests check
 * (test/unit/overlay/convergence.ts). Prints one JSON line a run; a failure prints its seed and the
 * last messages.
 *
 *     node benchmarks/overlay/soak.ts [nodes=1000] [steps=2000] [runs=1] [seed=random]
 */
import { randomInt } from 'node:crypto';
import { converge } from '../../test/unit/overlay/convergence.ts';

const [nodes = 1000, steps = 2000, runs = 1, seed = randomInt(2 ** 32 - 1)] = process.argv
  .slice(2)
  .map(Number);

for (let run = 0; run < runs; run++) {
  const began = performance.now();
  const result = await converge({ seed: seed + run, nodes, replicas: 20, steps });
  const { delivered, time, messagesPerRead } = result;
  const record = { nodes, steps, seed: seed + run, delivered, messagesPerRead };
  const seconds = (performance.now() - began) / 1000;
  console.log(JSON.stringify({ ...record, virtualSeconds: time / 1000, seconds }));
}
