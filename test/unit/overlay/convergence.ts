/**
 * One run of an overlay in a bad network: members write, read and end records while messages are
 * lost, doubled, delayed, replayed and damaged, parts of the network are cut off, and some nodes are
 * stubborn. What must hold is checked all the time; what must hold in the end, in the end.
 */
import assert from 'node:assert/strict';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { ENDPOINT_RECORD, recordKey } from '../../../src/overlay/stored-kinds.ts';
import { MAX_ENDPOINT_LIFETIME } from '../../../src/records/endpoint.ts';
import { nth } from './harness.ts';
import { type SimulatedNode, simulatedKey, simulateNodes } from './simulated-nodes.ts';
import { CALM, type Faults, Simulation } from './simulation.ts';

export const BAD: Faults = {
  drop: 0.1,
  duplicate: 0.1,
  corrupt: 0.05,
  replay: 0.1,
  delay: { least: 1, most: 400 },
};

export interface ConvergenceOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly replicas: number;
  /** Writes and reads while the network is bad. */
  readonly steps: number;
}

export interface ConvergenceResult {
  readonly delivered: number;
  /** Virtual milliseconds. */
  readonly time: number;
  /** Of the reads at the end, how many messages each took, on average. */
  readonly messagesPerRead: number;
  readonly flow: string;
}

export async function converge(options: ConvergenceOptions): Promise<ConvergenceResult> {
  const simulation = new Simulation(options.seed);
  const began = simulation.now;
  const nodes = await simulateNodes(simulation, options.nodes, options.replicas);
  const owner = peerIdFromPrivateKey(await simulatedKey(-1));
  assert.ok(owner.type === 'Ed25519');
  const service = owner;
  /** The newest version that each node has signed; undefined for one that ended its record. */
  const newest = new Map<number, number | undefined>();
  const background: Promise<unknown>[] = [];
  const keyOf = ({ id }: SimulatedNode): string => recordKey(ENDPOINT_RECORD, service, id);

  async function write(node: SimulatedNode): Promise<void> {
    const sequence = node.records.nextSequence(ENDPOINT_RECORD, service, node.id);
    newest.set(node.index, sequence);
    const notAfter = Math.floor(simulation.now / 1000) + MAX_ENDPOINT_LIFETIME;
    const fields = { serviceId: service, peerId: node.id, multiaddrs: [], underlay: [] };
    await node.records.put(ENDPOINT_RECORD, { ...fields, sequence, notAfter }, node.key);
  }

  async function end(node: SimulatedNode): Promise<void> {
    newest.set(node.index, undefined);
    await node.records.end(ENDPOINT_RECORD, [service, node.id], node.key);
  }

  /** P8: what a reader was given once, it is never given an older version of. */
  const given = new Map<string, number>();
  async function read(reader: SimulatedNode, of: SimulatedNode): Promise<number | undefined> {
    const found = await reader.records.get(ENDPOINT_RECORD, [service, of.id]);
    const sequence = found?.value.sequence;
    const pair = `${reader.index} ${of.index}`;
    if (sequence === undefined) return undefined;
    assert.ok(sequence >= (given.get(pair) ?? 0), `P8: ${pair}`);
    given.set(pair, sequence);
    return sequence;
  }

  /** P8: no floor goes down. Nor does anything enter that nobody signed. */
  const floors = new Map<string, number>();
  function checkFloors(): void {
    for (const node of nodes) {
      for (const { key, sequence } of node.store.all()) {
        const pair = `${node.index} ${key}`;
        assert.ok(sequence >= (floors.get(pair) ?? 0), `P8: floor of ${pair}`);
        floors.set(pair, sequence);
      }
    }
  }

  await simulation.explain(async () => {
    for (const node of nodes) await simulation.finish(write(node));
    for (const node of nodes.slice(0, Math.floor(nodes.length / 10))) node.stubborn = true;
    simulation.faults = BAD;
    for (let step = 0; step < options.steps; step++) {
      const [a, b] = [
        nth(nodes, simulation.pick(nodes.length)),
        nth(nodes, simulation.pick(nodes.length)),
      ];
      const dice = simulation.random();
      if (dice < 0.05) {
        const cut = simulation.pick(nodes.length);
        simulation.partition(range(0, cut), range(cut, nodes.length));
      } else if (dice < 0.15) simulation.partition();
      else if (dice < 0.2) background.push(end(a));
      else if (dice < 0.6) background.push(write(a));
      else background.push(read(a, b));
      await simulation.run(simulation.pick(500));
      if (step % 20 === 0) checkFloors();
    }
    simulation.partition();
    simulation.faults = CALM;
    await simulation.finish(Promise.all(background));
    checkFloors();

    // Two hours on: whoever holds something that was not heard of since has stored it again.
    await simulation.run(2 * 3_600_000);
    for (const { records } of nodes) await simulation.finish(records.republish());
    checkFloors();

    // P9: stubborn nodes among the closest change nothing.
    for (const [index, sequence] of newest) {
      const reader = nth(nodes, simulation.pick(nodes.length));
      const found = await simulation.finish(read(reader, nth(nodes, index)));
      assert.equal(found, sequence, `P9: n${reader.index} reads ${keyOf(nth(nodes, index))}`);
    }
  });
  const before = simulation.delivered;
  for (const node of nodes) await simulation.finish(read(nth(nodes, 0), node));
  const messagesPerRead = (simulation.delivered - before) / nodes.length;
  // Corrections that the reads set off.
  await simulation.run(10_000);
  for (const { records } of nodes) await records.close();
  const { delivered } = simulation;
  return { delivered, time: simulation.now - began, messagesPerRead, flow: simulation.flow() };
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
