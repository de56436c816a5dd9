/**
 * What one member may send, on every protocol of an overlay: messages that are all in order, too many of them.
 */
import assert from 'node:assert/strict';
import type { Stream } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import { everybodyIn } from '../../../src/overlay/audience.ts';
import { Dht } from '../../../src/overlay/dht.ts';
import { DIRECTORY_FRAMES, DIRECTORY_SUFFIX, frame } from '../../../src/overlay/directory.ts';
import { DirectoryServer } from '../../../src/overlay/directory-server.ts';
import { Gate, type GateOptions, type Trust } from '../../../src/overlay/gate.ts';
import { Membership } from '../../../src/overlay/membership.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { Spread } from '../../../src/overlay/spread.ts';
import { MEMBERSHIP_RECORD, SPREAD_KINDS } from '../../../src/overlay/stored-kinds.ts';
import { MessageStream } from '../../../src/wire/message-stream.ts';
import { addresses, Cleanup, identity, listen, memberGate, trustIn } from './harness.ts';
import { MemoryNetwork } from './memory-network.ts';

const service = await identity();
const superPeer = await identity();
const trust = (): Trust => trustIn([superPeer.id]);
const FEW = { perSecond: 1, burst: 4_000 };
const MESSAGES = 100;
const PADDING = Buffer.alloc(100, 'x');

/** Sends one message that the protocol allows, of about 100 bytes. */
type Send = (stream: Stream) => () => Promise<void>;

const raw =
  (bytes: Uint8Array): Send =>
  (stream) => {
    const frames = lpStream(stream);
    return () => frames.write(bytes);
  };

const PROTOCOLS: Record<string, Send> = {
  [DIRECTORY_SUFFIX]: (stream) => {
    const frames = new MessageStream(stream, DIRECTORY_FRAMES);
    const attach = { nonce: new Uint8Array(32), session: 1, multiaddrs: [], known: undefined };
    let first = true;
    return async () => {
      const message = first ? frame({ attach }) : frame({ beat: 1 });
      first = false;
      await frames.write(message, {});
    };
  },
  // A list of one record that the sender has (field 2), without the request for an answer.
  'spread/1.0.0': raw(
    Buffer.from([0x12, 116, 0x0a, 100, ...PADDING, 0x10, 1, 0x18, 0, 0x22, 8, ...Buffer.alloc(8)]),
  ),
  // PING of kad-dht: type 5 (field 1), and a key (field 2).
  'kad/1.0.0': raw(Buffer.from([0x08, 5, 0x12, 100, ...PADDING])),
};

describe('limits per peer', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function serve(limits: Pick<GateOptions, 'bytes' | 'messages' | 'hellos'>): Promise<Gate> {
    const { key, id } = superPeer;
    const host = cleanup.add(await listen(key));
    const credential = (): undefined => undefined;
    const gate = new Gate(host, { overlayId: service.id, credential, trust, ...limits });
    cleanup.add(gate);
    await gate.start();
    const store = new RecordStore({ kinds: [MEMBERSHIP_RECORD, ...SPREAD_KINDS] });
    const records = cleanup.add(new Records({ store, network: new MemoryNetwork().join(store) }));
    const own = { serviceId: service.id, superPeer: id, key, trust };
    const membership = new Membership({ records, ...own });
    cleanup.add({ close: () => membership.close({ signal: AbortSignal.abort() }) });
    const parts = [
      new Dht(gate, store),
      new Spread({ gate, store, kinds: SPREAD_KINDS, audience: everybodyIn(gate) }),
      new DirectoryServer({ gate, membership, key, trust }),
    ];
    for (const part of parts) {
      await part.start();
      cleanup.add(part);
    }
    return gate;
  }

  async function member(): Promise<Gate & { readonly shown: Uint8Array }> {
    const host = cleanup.add(await listen((await identity()).key));
    const { gate, credential } = await memberGate(host, service.id, superPeer);
    return Object.assign(cleanup.add(gate), { shown: credential.bytes });
  }

  /** @returns whether the stream was still open when all had been sent and looked at */
  async function flood(from: Gate, to: Gate, suffix: string, make: Send): Promise<boolean> {
    const stream = await from.open(addresses(to.host), suffix);
    const send = make(stream);
    const ended = new Promise((resolve) => stream.addEventListener('close', resolve));
    try {
      for (let i = 0; i < MESSAGES && stream.status === 'open'; i++) {
        await send();
        // The beats of a directory are short.
        if (suffix === DIRECTORY_SUFFIX) for (let j = 0; j < 20; j++) await send();
      }
    } catch {
      return false;
    }
    // A ping comes back after all that was sent before it.
    await from.host.libp2p.services.ping.ping(to.host.peerId);
    if (stream.status !== 'open') return false;
    stream.abort(new Error('done'));
    await ended;
    return true;
  }

  for (const [suffix, make] of Object.entries(PROTOCOLS)) {
    it(`P5 ${suffix} cuts off a member that sends too many bytes, and only that one`, async () => {
      const unlimited = await serve({});
      assert.ok(await flood(await member(), unlimited, suffix, make), 'in order, if not too much');
      await cleanup.run();
      const limited = await serve({ bytes: FEW });
      const [greedy, modest] = [await member(), await member()];
      assert.ok(!(await flood(greedy, limited, suffix, make)));
      assert.ok(greedy.isAdmitted(superPeer.id), 'the stream, not the connection');
      const stream = await modest.open(addresses(limited.host), suffix);
      await make(stream)();
      await modest.host.libp2p.services.ping.ping(superPeer.id);
      assert.equal(stream.status, 'open');
    });
  }

  for (const [suffix, make] of Object.entries(PROTOCOLS)) {
    it(`P5 ${suffix} cuts off a member that sends too many messages, on one stream too`, async () => {
      const limited = await serve({ messages: { perSecond: 0, burst: MESSAGES / 2 } });
      const greedy = await member();
      assert.ok(!(await flood(greedy, limited, suffix, make)));
      assert.ok(greedy.isAdmitted(superPeer.id), 'the stream, not the connection');
      await assert.rejects(async () => {
        const stream = await greedy.open(addresses(limited.host), suffix);
        await make(stream)();
        await lpStream(stream).read();
      });
    });
  }

  it('P5 a member that says hello again and again is heard so often only', async () => {
    const gate = await serve({ hellos: { perSecond: 0.001, burst: 10 } });
    const { host, shown } = await member();
    const connection = await host.libp2p.dial(addresses(gate.host));
    // The credential is field 1; its length takes two bytes.
    const hello = [0x0a, 0x80 | (shown.length & 0x7f), shown.length >> 7, ...shown];
    const heard: boolean[] = [];
    for (let i = 0; i < 15; i++) {
      const stream = await connection.newStream([gate.protocol('hello/1.0.0')]);
      const frames = lpStream(stream);
      await frames.write(Uint8Array.from(hello)).catch(() => undefined);
      heard.push(
        await frames.read().then(
          () => true,
          () => false,
        ),
      );
      if (stream.status === 'open') await stream.close();
    }
    assert.deepEqual(
      heard,
      heard.map((_, i) => i < 10),
    );
  });

  it('serves every protocol of the overlay behind the gate', async () => {
    const gate = await serve({});
    const prefix = gate.protocol('');
    const served = gate.host.libp2p.getProtocols().filter((each) => each.startsWith(prefix));
    const suffixes = served.map((each) => each.slice(prefix.length)).toSorted();
    assert.deepEqual(suffixes, [...Object.keys(PROTOCOLS), 'hello/1.0.0'].toSorted());
  });
});
