import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { converge } from './convergence.ts';
import { convergeService } from './service-convergence.ts';
import { Simulation } from './simulation.ts';

describe('records in a bad network', () => {
  it('P8 P9 50 nodes agree on the newest in the end, and never go back on the way', async () => {
    // The seed stands in the error when this fails.
    await converge({ seed: randomInt(2 ** 32), nodes: 50, replicas: 8, steps: 300 });
  });

  it('P8 P9 so do 20 nodes with fixed seeds', async () => {
    for (const seed of [1, 2]) await converge({ seed, nodes: 20, replicas: 4, steps: 150 });
  });

  it('the same seed gives the same run, message by message', async () => {
    const options = { seed: 7, nodes: 12, replicas: 4, steps: 60 };
    const [one, two] = [await converge(options), await converge(options)];
    assert.equal(one.flow, two.flow);
    assert.deepEqual(one, two);
    assert.notEqual(one.flow, (await converge({ ...options, seed: 8 })).flow);
  });

  it('P8 P11 of 50 nodes, 8 super-peers agree in the end on members, revocations and policy', async () => {
    const size = { nodes: 50, superPeers: 8, members: 24, replicas: 6, steps: 60 };
    await convergeService({ seed: randomInt(2 ** 32), ...size });
  });

  it('the same seed gives the same run of a service', async () => {
    const options = { seed: 5, nodes: 12, superPeers: 3, members: 8, replicas: 4, steps: 40 };
    assert.deepEqual(await convergeService(options), await convergeService(options));
  });

  it('a failure tells its seed and draws the messages', async () => {
    const simulation = new Simulation(42);
    simulation.attach(2, () => undefined);
    simulation.send({ from: 1, to: 2, label: 'put abc', bytes: Buffer.from('x') });
    simulation.partition([1], [2]);
    simulation.send({ from: 1, to: 2, label: 'get abc', bytes: Buffer.from('x') });
    const failed = simulation.explain(() => Promise.reject(new Error('wrong')));
    await assert.rejects(failed, (error: Error) => {
      assert.match(error.message, /^wrong\n\nseed 42/);
      assert.match(error.message, /n001 ──put abc─+▶ n002 {2}\d+ ms\n/);
      assert.match(error.message, /n001 ──get abc─+▶ n002 {2}CUT$/);
      return true;
    });
  });
});
