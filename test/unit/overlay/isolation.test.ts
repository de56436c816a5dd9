/** P10: two overlays never merge, and a stranger on the right protocol id gets nowhere. */
import assert from 'node:assert/strict';
import { start, stop } from '@libp2p/interface';
import type { KadDHT } from '@libp2p/kad-dht';
import { kadDHT } from '@libp2p/kad-dht';
import { lpStream } from '@libp2p/utils';
import { multiaddr } from '@multiformats/multiaddr';
import { bytes, message, refine, repeated, required, uint32 } from '../../../src/codec/protobuf.ts';
import { Gate, type Trust } from '../../../src/overlay/gate.ts';
import type { Host } from '../../../src/overlay/host.ts';
import { DESCRIPTOR_RECORD, recordKey } from '../../../src/overlay/stored-kinds.ts';
import { seal } from '../../../src/records/envelope.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  descriptorOf,
  type Identity,
  identity,
  listen,
  nth,
  Tier,
  trustIn,
} from './harness.ts';

const service = await identity();
const admitter = await identity();
const trust = (): Trust => trustIn([admitter.id]);
const key = Buffer.from(recordKey(DESCRIPTOR_RECORD, service.id));

/** kad-dht's answer to FIND_NODE, as far as it is needed here. */
const FOUND = message({
  type: required(1, uint32()),
  closer: repeated(
    8,
    message({
      id: required(1, bytes({ max: 64 })),
      addresses: repeated(
        2,
        refine(bytes({ max: 64 }), { parse: String, format: (text) => multiaddr(text).bytes }),
        { max: 8 },
      ),
    }),
    { max: 8 },
  ),
});

/** kad-dht's FIND_NODE (4) and GET_VALUE (1), as anybody can write them. */
const QUESTION = message({ type: required(1, uint32()), key: required(2, bytes({ max: 256 })) });

describe('overlays are isolated', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function member(overlay: Identity, host?: Host, who?: Identity): Promise<[Tier, Host]> {
    const { key, id } = who ?? (await identity());
    const own = host ?? cleanup.add(await listen(key));
    const credential = await credentialFor(overlay.id, admitter.key, id);
    const tier = cleanup.add(new Tier(own, overlay.id, () => credential.bytes, trust));
    await tier.start();
    return [tier, own];
  }

  /** kad-dht as it comes, on the overlay's own protocol id, at a node that was never admitted. */
  async function stranger(protocol: string): Promise<[KadDHT, Host]> {
    const { key } = await identity();
    const host = cleanup.add(await listen(key));
    const { components } = host;
    const { peerId, privateKey, registrar, addressManager, peerStore } = components;
    const { connectionManager, datastore, events, logger, ping } = components;
    const kad = kadDHT({
      protocol,
      clientMode: false,
      allowQueryWithZeroPeers: true,
      peerInfoMapper: (peer) => peer,
      networkDialTimeout: { maxTimeout: 2_000 },
      validators: { 'icvpn-descriptor': () => undefined },
      selectors: { 'icvpn-descriptor': () => 0 },
    })({
      peerId,
      privateKey,
      registrar,
      addressManager,
      peerStore,
      connectionManager,
      datastore,
      events,
      logger,
      ping,
    });
    await start(kad);
    cleanup.add({ close: () => stop(kad) });
    return [kad, host];
  }

  it('P10 a stranger cannot read, write or enter the routing table', async () => {
    const [[a, hostA], [b]] = await Promise.all([member(service), member(service)]);
    await b.dht.join([addresses(hostA)]);
    const descriptor = descriptorOf(service.id, [hostA]);
    await a.records.put(DESCRIPTOR_RECORD, descriptor, service.key);

    const [kad, host] = await stranger(a.gate.protocol('kad/1.0.0'));
    const connection = await host.libp2p.dial(addresses(hostA));
    // Whoever asks is told that the other speaks the protocol.
    await host.libp2p.services.identify.identify(connection);
    const back = nth(hostA.libp2p.getConnections(host.peerId), 0);
    await hostA.libp2p.services.identify.identify(back);
    const answers: string[] = [];
    const newer = await seal(DESCRIPTOR_RECORD.record, { ...descriptor, sequence: 2 }, service.key);
    const signal = AbortSignal.timeout(30_000);
    for (const query of [
      kad.get(key, { signal }),
      kad.put(key, newer, { signal }),
      kad.getClosestPeers(key, { signal }),
    ]) {
      for await (const event of query) answers.push(event.name);
    }
    assert.ok(!answers.includes('PEER_RESPONSE') && !answers.includes('VALUE'), answers.join());
    assert.equal(a.records.latest(DESCRIPTOR_RECORD, service.id)?.value.sequence, 1);
    for (const tier of [a, b]) {
      assert.equal(tier.dht.size, 1);
      const { peers: known } = await tier.dht.closest('anything');
      assert.ok(!known.some((each) => each.equals(host.peerId)));
    }
  });

  it('P10 a stranger that writes questions of kad by hand gets no answer; a member does', async () => {
    const [[a, hostA], [b, hostB]] = await Promise.all([member(service), member(service)]);
    await a.records.put(DESCRIPTOR_RECORD, descriptorOf(service.id, [hostA]), service.key);
    const strange = cleanup.add(await listen((await identity()).key));
    await b.gate.admit(addresses(hostA));
    const signal = AbortSignal.timeout(30_000);
    const ask = async (host: Host, type: number): Promise<number> => {
      const kad = a.gate.protocol('kad/1.0.0');
      const frames = lpStream(await host.libp2p.dialProtocol(addresses(hostA), kad, { signal }));
      await frames.write(QUESTION.encode({ type, key }), { signal });
      const answer = await frames.read({ signal });
      return answer.byteLength;
    };
    for (const type of [1, 4]) {
      assert.ok((await ask(hostB, type)) > 0);
      await assert.rejects(ask(strange, type), (error) => !signal.aborted && error !== undefined);
    }
  });

  it('P10 a node in two overlays does not join them', async () => {
    const other = await identity();
    const [[a, hostA], [b, hostB]] = await Promise.all([member(service), member(other)]);
    const both = await identity();
    const host = cleanup.add(await listen(both.key));
    const [inA] = await member(service, host, both);
    const [inB] = await member(other, host, both);
    await inA.dht.join([addresses(hostA)]);
    await inB.dht.join([addresses(hostB)]);
    for (const tier of [a, b, inA, inB]) await tier.dht.closest('anything');
    assert.deepEqual(
      [a, b, inA, inB].map(({ dht }) => dht.size),
      [1, 1, 1, 1],
    );
    assert.ok(!a.gate.isAdmitted(hostB.peerId) && !b.gate.isAdmitted(hostA.peerId));
    await assert.rejects(a.dht.join([addresses(hostB)]), { code: 'ERR_UNREACHABLE' });
    const descriptor = descriptorOf(service.id, [hostA]);
    await a.records.put(DESCRIPTOR_RECORD, descriptor, service.key);
    assert.equal(await b.records.get(DESCRIPTOR_RECORD, [service.id]), undefined);
  });

  it('P10 a stranger that a rogue member vouches for is dialled, and not let in', async () => {
    const [a] = await member(service);
    const [, strange] = await stranger(a.gate.protocol('kad/1.0.0'));
    const rogue = await identity();
    const hostR = cleanup.add(await listen(rogue.key));
    const { bytes: credential } = await credentialFor(service.id, admitter.key, rogue.id);
    const overlayId = service.id;
    const gate = cleanup.add(new Gate(hostR, { overlayId, credential: () => credential, trust }));
    await gate.start();
    const closer = {
      id: strange.peerId.toMultihash().bytes,
      addresses: addresses(strange).map(String),
    };
    await gate.handle('kad/1.0.0', async (stream) => {
      const frames = lpStream(stream);
      for (;;) {
        await frames.read();
        await frames.write(FOUND.encode({ type: 4, closer: [closer] }));
      }
    });
    const met = new Promise((resolve) => {
      strange.libp2p.addEventListener('peer:connect', resolve, { once: true });
    });
    await a.dht.join([addresses(hostR)]);
    await a.dht.closest('anything');
    await met;
    assert.ok(a.gate.isAdmitted(rogue.id) && !a.gate.isAdmitted(strange.peerId));
    assert.equal(a.dht.size, 1);
  });

  it('P9 on the wire: nodes that keep an old record and refuse corrections do not fail a read', async () => {
    const tiers = await Promise.all(Array.from({ length: 4 }, () => member(service)));
    const [reader, hostR] = nth(tiers, 0);
    for (const [tier] of tiers.slice(1)) await tier.dht.join([addresses(hostR)]);
    const old = await seal(DESCRIPTOR_RECORD.record, descriptorOf(service.id, []), service.key);
    const newest = descriptorOf(service.id, [], { sequence: 7 });
    for (const [{ store }] of tiers.slice(1, 3)) {
      await store.accept(key.toString(), old);
      store.accept = () => Promise.reject(new Error('no corrections here'));
    }
    const [{ store: honest }] = nth(tiers, 3);
    await honest.accept(key.toString(), await seal(DESCRIPTOR_RECORD.record, newest, service.key));
    const found = await reader.records.get(DESCRIPTOR_RECORD, [service.id]);
    assert.equal(found?.value.sequence, 7);
    const again = await reader.records.get(DESCRIPTOR_RECORD, [service.id]);
    assert.equal(again?.value.sequence, 7);
  });
});
