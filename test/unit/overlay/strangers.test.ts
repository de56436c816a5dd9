import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Connection } from '@libp2p/interface';
import { Gate, type Trust } from '../../../src/overlay/gate.ts';
import { createHost, type Host } from '../../../src/overlay/host.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  type Identity,
  identity,
  LOOPBACK,
  listen,
  trustIn,
} from './harness.ts';

const service = await identity();
const admitter = await identity();
const LIMITS = { idle: 1_000, most: 3_000 };

describe('connections of those who pass no gate', () => {
  const cleanup = new Cleanup();
  const revoked = new Set<string>();
  let superPeer: Host;
  afterEach(() => cleanup.run());

  async function gateOf(host: Host, bytes?: Uint8Array): Promise<Gate> {
    const trust = (): Trust => ({
      ...trustIn([admitter.id]),
      revoked: ({ value }) => revoked.has(value.peerId.toString()),
    });
    const options = { overlayId: service.id, credential: () => bytes, trust };
    const gate = cleanup.add(new Gate(host, options));
    await gate.start();
    return gate;
  }

  beforeEach(async () => {
    const { key } = admitter;
    superPeer = cleanup.add(await createHost({ key, listen: LOOPBACK, strangers: LIMITS }));
    await gateOf(superPeer);
  });

  async function stranger(): Promise<Connection> {
    const host = cleanup.add(await listen((await identity()).key));
    return host.libp2p.dial(addresses(superPeer));
  }

  async function member(who: Identity): Promise<Connection> {
    const host = cleanup.add(await listen(who.key));
    const credential = await credentialFor(service.id, admitter.key, who.id);
    const gate = await gateOf(host, credential.bytes);
    const connection = await host.libp2p.dial(addresses(superPeer));
    await gate.admit(addresses(superPeer));
    return connection;
  }

  it('P5 ends one that does nothing after its time, and leaves a member’s alone', async () => {
    const kept = await member(await identity());
    const idle = await stranger();
    await once(idle, 'close');
    assert.equal(kept.status, 'open');
  });

  it('P5 ends one that is kept busy, too', async () => {
    const connection = await stranger();
    const begin = performance.now();
    const gone = once(connection, 'close');
    // A stream that stays open without a word.
    await superPeer.libp2p.handle('/test/open', () => {});
    await connection.newStream('/test/open');
    await gone;
    assert.ok(performance.now() - begin >= LIMITS.most / 2, 'only the longer time ended it');
  });

  it('P5 ends one whose member was revoked', async () => {
    const who = await identity();
    const connection = await member(who);
    const gone = once(connection, 'close');
    revoked.add(who.id.toString());
    await gone;
  });
});
