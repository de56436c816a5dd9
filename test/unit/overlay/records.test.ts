import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { ENDPOINT_RECORD, recordKey } from '../../../src/overlay/stored-kinds.ts';
import type { Endpoint } from '../../../src/records/endpoint.ts';
import { MAX_ENDPOINT_LIFETIME } from '../../../src/records/endpoint.ts';
import { seal } from '../../../src/records/envelope.ts';
import { Cleanup, identity, nth } from './harness.ts';
import { MemoryNetwork } from './memory-network.ts';

const service = await identity();
const member = await identity();
const key = recordKey(ENDPOINT_RECORD, service.id, member.id);
const endpoint = (sequence: number): Endpoint => ({
  serviceId: service.id,
  peerId: member.id,
  sequence,
  notAfter: Math.floor(Date.now() / 1000) + MAX_ENDPOINT_LIFETIME,
  multiaddrs: [],
  underlay: [],
});
const versions = await Promise.all(
  [0, 1, 2, 3].map((sequence) => seal(ENDPOINT_RECORD.record, endpoint(sequence), member.key)),
);
const version = (sequence: number): Uint8Array => nth(versions, sequence);

function node(network: MemoryNetwork): { store: RecordStore; records: Records } {
  const store = new RecordStore({ kinds: [ENDPOINT_RECORD] });
  return { store, records: new Records({ store, network: network.join(store) }) };
}

describe('records over a network', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('P9 a read gives the newest if one of k has it, whatever the others answer', async () => {
    const answer = fc.constantFrom('nothing', 'garbage', 'old', 'older');
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { maxLength: 19 }), fc.nat(), async (others, place) => {
        const network = new MemoryNetwork();
        const { records } = node(network);
        for (const each of others) {
          const dishonest = new RecordStore({ kinds: [ENDPOINT_RECORD] });
          await dishonest.accept(key, version(each === 'old' ? 2 : 1));
          network.join(dishonest, { answer: each });
        }
        const honest = new RecordStore({ kinds: [ENDPOINT_RECORD] });
        await honest.accept(key, version(3));
        network.join(honest, { place: place % (others.length + 1) });
        const found = await records.get(ENDPOINT_RECORD, [service.id, member.id]);
        assert.equal(found?.value.sequence, 3);
        await records.close();
      }),
      { numRuns: 100 },
    );
  });

  it('P9 a node with an old version and no way to correct it cannot roll a read back', async () => {
    const network = new MemoryNetwork();
    const { records } = cleanupNode(network);
    await records.putSealed(ENDPOINT_RECORD, version(3));
    const stubborn = new RecordStore({ kinds: [ENDPOINT_RECORD] });
    await stubborn.accept(key, version(1));
    network.join(stubborn, { answer: 'old', refuses: true });
    const found = await records.get(ENDPOINT_RECORD, [service.id, member.id]);
    assert.equal(found?.value.sequence, 3);
  });

  it('a read brings nodes that are behind up to date', async () => {
    const network = new MemoryNetwork();
    const reader = cleanupNode(network);
    const [behind, ahead] = [cleanupNode(network), cleanupNode(network)];
    await behind.store.accept(key, version(1));
    await ahead.store.accept(key, version(3));
    const corrected = new Promise((resolve) => behind.store.once('record', resolve));
    await reader.records.get(ENDPOINT_RECORD, [service.id, member.id]);
    await corrected;
    assert.equal(behind.store.floor(key)?.sequence, 3);
  });

  it('P8 a replayed older record is refused by every node, also through the network', async () => {
    const network = new MemoryNetwork();
    const nodes = [cleanupNode(network), cleanupNode(network), cleanupNode(network)];
    const writer = nth(nodes, 0).records;
    assert.equal((await writer.putSealed(ENDPOINT_RECORD, version(2))).replicas, 2);
    await assert.rejects(writer.putSealed(ENDPOINT_RECORD, version(1)), { code: 'ERR_RECORD_OLD' });
    assert.equal(await network.storeFrom(undefined, key, version(1)), 0);
    for (const { store } of nodes) assert.equal(store.floor(key)?.sequence, 2);
  });

  it('watching tells of what arrives and what is read, newest only', async () => {
    const network = new MemoryNetwork();
    const [a, b] = [cleanupNode(network), cleanupNode(network)];
    const seen: number[] = [];
    const stop = b.records.watch(ENDPOINT_RECORD, ({ value }) => seen.push(value.sequence));
    await a.records.putSealed(ENDPOINT_RECORD, version(1));
    await a.records.putSealed(ENDPOINT_RECORD, version(2));
    await network.storeFrom(undefined, key, version(1));
    stop();
    await a.records.putSealed(ENDPOINT_RECORD, version(3));
    assert.deepEqual(seen, [1, 2]);
  });

  it('a read gives what it has when time runs out, and the caller’s reason when that aborts', async () => {
    const network = new MemoryNetwork();
    const { records } = cleanupNode(network);
    const silent = new RecordStore({ kinds: [ENDPOINT_RECORD] });
    network.join(silent, { answer: 'hangs' });
    const reason = new Error('no longer wanted');
    const controller = new AbortController();
    const read = records.get(ENDPOINT_RECORD, [service.id, member.id], controller);
    controller.abort(reason);
    await assert.rejects(read, reason);
  });

  it('P8 a record that its signer ended is gone for readers, and an old replica brings nothing back', async () => {
    const network = new MemoryNetwork();
    const [a, b] = [cleanupNode(network), cleanupNode(network)];
    await a.records.putSealed(ENDPOINT_RECORD, version(3));
    await a.records.end(ENDPOINT_RECORD, [service.id, member.id], member.key);
    const stubborn = new RecordStore({ kinds: [ENDPOINT_RECORD] });
    await stubborn.accept(key, version(3));
    network.join(stubborn, { answer: 'old' });
    assert.equal(b.records.latest(ENDPOINT_RECORD, service.id, member.id), undefined);
    const reader = cleanupNode(network);
    assert.equal(await reader.records.get(ENDPOINT_RECORD, [service.id, member.id]), undefined);
    assert.equal(await a.records.get(ENDPOINT_RECORD, [service.id, member.id]), undefined);
  });

  it('what nobody stored again for long is stored again by who holds it, once', async () => {
    let now = Date.now();
    const network = new MemoryNetwork();
    const make = (): ReturnType<typeof node> => {
      const store = new RecordStore({ kinds: [ENDPOINT_RECORD], clock: () => now });
      const joined = network.join(store);
      const records = new Records({ store, network: joined, clock: () => now });
      return { store, records: cleanup.add(records) };
    };
    const [a, b] = [make(), make()];
    await a.records.putSealed(ENDPOINT_RECORD, version(3));
    const late = make();
    assert.equal(await a.records.republish(), 0);
    now += 2 * 3_600_000;
    assert.equal(await b.records.republish(), 1);
    assert.equal(late.store.floor(key)?.sequence, 3);
    // All have heard it.
    assert.equal(await a.records.republish(), 0);
    assert.equal(await late.records.republish(), 0);
  });

  it('the next sequence is above every one seen', async () => {
    const store = new RecordStore({ kinds: [ENDPOINT_RECORD] });
    const network = new MemoryNetwork().join(store);
    const records = new Records({ store, network, clock: () => 2 });
    assert.equal(records.nextSequence(ENDPOINT_RECORD, service.id, member.id), 2);
    await store.accept(key, version(3));
    assert.equal(records.nextSequence(ENDPOINT_RECORD, service.id, member.id), 4);
    await records.close();
  });

  function cleanupNode(network: MemoryNetwork): ReturnType<typeof node> {
    const made = node(network);
    cleanup.add(made.records);
    return made;
  }
});
