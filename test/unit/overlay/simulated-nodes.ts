/**
 * Nodes of one overlay on a simulated network: real record stores and record layers, and between
 * them PUT and GET of the nodes closest to a key, as kad-dht does them.
 */
import { createHash } from 'node:crypto';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { bytes, message, optional, required, string, uint32 } from '../../../src/codec/protobuf.ts';
import type { RecordNetwork } from '../../../src/overlay/dht.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { ENDPOINT_RECORD, type StoredKind } from '../../../src/overlay/stored-kinds.ts';
import { nth } from './harness.ts';
import type { Message, Simulation } from './simulation.ts';

/** Virtual milliseconds that an answer is waited for. */
const PATIENCE = 2_000;

const RPC = message({
  id: required(1, uint32()),
  verb: required(2, string({ max: 8 })),
  key: required(3, string({ max: 512 })),
  bytes: optional(4, bytes({ max: 256 * 1024 })),
});

export interface SimulatedNode {
  readonly index: number;
  readonly key: PrivateKey;
  readonly id: Ed25519PeerId;
  readonly store: RecordStore;
  readonly records: Records;
  /** Takes nothing, and answers with the first version that it ever saw. */
  stubborn: boolean;
}

export async function simulatedKey(index: number): Promise<PrivateKey> {
  const seed = createHash('sha256').update(`simulated node ${index}`).digest();
  return generateKeyPairFromSeed('Ed25519', Uint8Array.from(seed));
}

type Answer = (bytes: Uint8Array | undefined) => void;

/**
 * @param replicas how many nodes are closest to a key
 * @param kinds what they store
 */
export async function simulateNodes(
  simulation: Simulation,
  count: number,
  replicas: number,
  kinds: readonly StoredKind<unknown>[] = [ENDPOINT_RECORD],
): Promise<SimulatedNode[]> {
  const nodes: SimulatedNode[] = [];
  const places: Buffer[] = [];

  function closest(key: string, but: number): number[] {
    const target = sha256(key);
    return nodes
      .map(({ index }) => ({ index, distance: xor(nth(places, index), target) }))
      .filter(({ index }) => index !== but)
      .sort((a, b) => Buffer.compare(a.distance, b.distance))
      .slice(0, replicas)
      .map(({ index }) => index);
  }

  for (let index = 0; index < count; index++) {
    const key = await simulatedKey(index);
    const id = peerIdFromPrivateKey(key);
    if (id.type !== 'Ed25519') throw new TypeError('not an Ed25519 key');
    const clock = (): number => simulation.now;
    const { random } = simulation;
    const store = new RecordStore({ kinds, clock });
    const network = networkOf(simulation, index, (target) => closest(target, index));
    const records = new Records({ store, network, clock, random });
    places.push(sha256(id.toString()));
    const node: SimulatedNode = { index, key, id, store, records, stubborn: false };
    nodes.push(node);
    simulation.attach(index, network.handlerFor(node));
  }
  return nodes;
}

function networkOf(
  simulation: Simulation,
  self: number,
  closest: (key: string) => number[],
): RecordNetwork & { handlerFor(node: SimulatedNode): (message: Message) => void } {
  const waiting = new Map<number, Answer>();
  const firsts = new Map<string, Uint8Array>();
  let ids = 0;

  function send(to: number, fields: Parameters<typeof RPC.encode>[0]): void {
    const label = `${fields.verb} ${fields.key.slice(-6)}`;
    simulation.send({ from: self, to, label, bytes: RPC.encode(fields) });
  }

  function ask(verb: string, key: string, value: Uint8Array | undefined, answer: Answer): number {
    const targets = closest(key);
    for (const to of targets) {
      const id = ids++;
      const once: Answer = (answered) => {
        if (waiting.delete(id)) answer(answered);
      };
      waiting.set(id, once);
      send(to, { id, verb, key, bytes: value });
      simulation.after(PATIENCE, () => once(undefined));
    }
    return targets.length;
  }

  return {
    store(key, value) {
      return new Promise((resolve) => {
        let left = 0;
        let stored = 0;
        left = ask('put', key, value, (answered) => {
          if (answered) stored++;
          if (--left === 0) resolve(stored);
        });
        if (left === 0) resolve(0);
      });
    },

    async *collect(key) {
      const answers: Uint8Array[] = [];
      let wake = Promise.withResolvers<void>();
      let left = ask('get', key, undefined, (answered) => {
        if (answered) answers.push(answered);
        left--;
        wake.resolve();
      });
      while (left > 0 || answers.length > 0) {
        const next = answers.shift();
        if (next) yield next;
        else {
          await wake.promise;
          wake = Promise.withResolvers();
        }
      }
    },

    handlerFor: (node) => (received) => {
      let rpc: ReturnType<typeof RPC.decode>;
      try {
        rpc = RPC.decode(received.bytes);
      } catch {
        return;
      }
      const { id, verb, key, bytes: value } = rpc;
      const reply = (answer: string, held?: Uint8Array): void =>
        send(received.from, { id, verb: answer, key, bytes: held });
      if (verb === 'value' || verb === 'stored') waiting.get(id)?.(value);
      else if (verb === 'get') {
        const held = node.store.held(key)?.bytes;
        reply('value', (node.stubborn && firsts.get(key)) || held);
      } else if (verb === 'put' && value) {
        if (!firsts.has(key)) firsts.set(key, value);
        else if (node.stubborn) return;
        node.store.accept(key, value).then(
          () => reply('stored', value),
          () => undefined,
        );
      }
    },
  };
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, i) => byte ^ (b[i] ?? 0)));
}
