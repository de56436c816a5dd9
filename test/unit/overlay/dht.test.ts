import assert from 'node:assert/strict';
import { addresses, Cleanup, credentialFor, identity, listen, Tier } from './harness.ts';

const [service, admitter] = [await identity(), await identity()];

describe('DHT behind a gate', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function member(): Promise<Tier> {
    const { key, id } = await identity();
    const host = cleanup.add(await listen(key));
    const { bytes } = await credentialFor(service.id, admitter.key, id);
    const trust = () => ({ epoch: 1, admitters: [admitter.id] });
    const tier = cleanup.add(new Tier(host, service.id, () => bytes, trust));
    await tier.start();
    return tier;
  }

  it('marks no peer as one that libp2p dials by itself, which it would do without a hello', async () => {
    const [a, b] = [await member(), await member()];
    await a.dht.join([addresses(b.gate.host)]);
    assert.deepEqual(a.dht.peers().map(String), [b.gate.host.peerId.toString()]);
    const { tags } = await a.gate.host.libp2p.peerStore.get(b.gate.host.peerId);
    assert.deepEqual([...tags.keys()], []);
  });
});
