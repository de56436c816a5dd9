import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { EndpointPublisher } from '../../../src/daemon/endpoint.ts';
import { ENDPOINT_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { ENDPOINT } from '../../../src/records/endpoint.ts';
import { open, seal } from '../../../src/records/envelope.ts';
import { identity } from '../overlay/harness.ts';

describe('endpoint publisher', () => {
  it('offers the record again until another node holds it, and then rests', async () => {
    const [service, member] = [await identity(), await identity()];
    const puts = new EventEmitter<{ put: [sequence: number] }>();
    // Nobody is there at first; a member that can hold it comes before the third time.
    const replicas = [0, 0, 1];
    let sequence = 0;
    const publisher = new EndpointPublisher({
      ...{ key: member.key, peerId: member.id, serviceId: service.id, retry: 5 },
      records: {
        nextSequence: () => ++sequence,
        put: async (kind, value, key) => {
          const opened = await open(kind.record, await seal(kind.record, value, key));
          puts.emit('put', sequence);
          return { opened, replicas: replicas.shift() ?? assert.fail('once more than needed') };
        },
      },
      multiaddrs: () => [parseTcpMultiaddr('/ip4/192.0.2.7/tcp/4242')],
      observed: () => ['198.51.100.9'],
      log: (event) => assert.fail(event),
    });
    const signal = AbortSignal.timeout(30_000);
    const third = new Promise<void>((resolve) => {
      puts.on('put', (at) => at === 3 && resolve());
      signal.addEventListener('abort', () => resolve());
    });
    await publisher.publish();
    await third;
    assert.equal(sequence, 3);
    await publisher[Symbol.asyncDispose]();
    assert.deepEqual(replicas, []);
  });

  it('names own addresses first, then those at which it is seen', async () => {
    const [service, member] = [await identity(), await identity()];
    const told = new EventEmitter<{ put: [Uint8Array] }>();
    const publisher = new EndpointPublisher({
      ...{ key: member.key, peerId: member.id, serviceId: service.id },
      records: {
        nextSequence: () => 1,
        put: async (kind, value, key) => {
          const bytes = await seal(kind.record, value, key);
          told.emit('put', bytes);
          return { opened: await open(kind.record, bytes), replicas: 1 };
        },
      },
      multiaddrs: () => [parseTcpMultiaddr('/ip4/192.0.2.7/tcp/4242')],
      observed: () => ['198.51.100.9', '192.0.2.7'],
      log: (event) => assert.fail(event),
    });
    const next = once(told, 'put');
    await publisher.publish();
    const [bytes] = await next;
    const { value, signer } = await open(ENDPOINT, bytes);
    assert.ok(signer.equals(member.id) && ENDPOINT_RECORD.record === ENDPOINT);
    assert.deepEqual(value.underlay, ['192.0.2.7', '198.51.100.9']);
    await publisher[Symbol.asyncDispose]();
  });
});
