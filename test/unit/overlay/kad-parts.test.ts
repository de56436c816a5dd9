import assert from 'node:assert/strict';
import { KadDatastore } from '../../../src/overlay/kad-datastore.ts';
import { kadParts } from '../../../src/overlay/kad-parts.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  identity,
  listen,
  memberGate,
  Tier,
  trustIn,
} from './harness.ts';

const [service, admitter] = [await identity(), await identity()];
const trust = () => trustIn([admitter.id]);

describe('what kad-dht is given', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function tier(): Promise<Tier> {
    const { key, id } = await identity();
    const host = cleanup.add(await listen(key));
    const { bytes } = await credentialFor(service.id, admitter.key, id);
    const tier = cleanup.add(new Tier(host, service.id, () => bytes, trust));
    await tier.start();
    return tier;
  }

  it('marks no peer as one that libp2p dials by itself, which it would do without a hello', async () => {
    const [a, b] = [await tier(), await tier()];
    await a.dht.join([addresses(b.gate.host)]);
    assert.deepEqual(a.dht.peers().map(String), [b.gate.host.peerId.toString()]);
    const { tags } = await a.gate.host.libp2p.peerStore.get(b.gate.host.peerId);
    assert.deepEqual([...tags.keys()], []);
  });

  it('does not dial a peer only because others told of it', async () => {
    const host = cleanup.add(await listen((await identity()).key));
    const gate = cleanup.add((await memberGate(host, service.id, admitter)).gate);
    const wanted = new Set<string>();
    const { ping } = kadParts({
      gate,
      datastore: new KadDatastore(new RecordStore({ kinds: [] })),
      isWanted: (peer) => wanted.has(peer.toString()),
      addressesStored: () => undefined,
      checkRoom: () => undefined,
    });
    const { host: told } = (await tier()).gate;
    await host.libp2p.peerStore.merge(told.peerId, { multiaddrs: addresses(told) });

    await assert.rejects(ping.ping(told.peerId), { code: 'ERR_UNREACHABLE', message: /told of/ });
    assert.equal(host.libp2p.getConnections(told.peerId).length, 0);

    wanted.add(told.peerId.toString());
    assert.ok((await ping.ping(told.peerId)) > 0, 'one that the table is to keep is dialled');

    wanted.clear();
    assert.ok(gate.isAdmitted(told.peerId));
    assert.ok((await ping.ping(told.peerId)) > 0, 'one that has passed is asked');
  });
});
