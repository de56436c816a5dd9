import assert from 'node:assert/strict';
import { once } from 'node:events';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { publishAtAll } from '../../../src/daemon/publish.ts';
import { PublishServer } from '../../../src/overlay/publish.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { DESCRIPTOR_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { seal } from '../../../src/records/envelope.ts';
import { blackHole } from '../overlay/black-hole.ts';
import { Cleanup, descriptorOf, identity, listen, nth } from '../overlay/harness.ts';
import { MemoryNetwork } from '../overlay/memory-network.ts';

describe('what the owner publishes', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('P11 reaches a super-peer at once while another one takes connections and says nothing', async () => {
    const service = await identity();
    const [silent, live] = [
      cleanup.add(await listen((await identity()).key)),
      cleanup.add(await listen((await identity()).key)),
    ];
    const store = new RecordStore({ kinds: [DESCRIPTOR_RECORD] });
    const records = cleanup.add(new Records({ store, network: new MemoryNetwork().join(store) }));
    await cleanup.add(new PublishServer({ host: live, records, allow: () => true })).start();

    const { admitters, ...terms } = descriptorOf(service.id, [silent, live]);
    const { multiaddr } = await blackHole(cleanup);
    const places = [parseTcpMultiaddr(multiaddr), nth(live.multiaddrs(), 0)];
    const at = admitters.map((each, i) => ({ ...each, multiaddrs: [nth(places, i)] }));
    const descriptor = { ...terms, admitters: at };
    const bytes = await seal(DESCRIPTOR_RECORD.record, descriptor, service.key);

    const stop = new AbortController();
    const stored = once(store, 'record');
    const publishing = publishAtAll(descriptor, DESCRIPTOR_RECORD, bytes, { signal: stop.signal });
    const first = await Promise.race([stored.then(() => 'stored'), publishing.then(() => 'over')]);
    assert.equal(first, 'stored');
    stop.abort();
    await assert.rejects(publishing, { name: 'AbortError' });
  });
});
