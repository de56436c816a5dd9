import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import type { Stream } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { lpStream, streamPair } from '@libp2p/utils';
import { createLibp2p } from 'libp2p';
import type { ExchangeKeys } from '../../../src/keymgmt/exchange/context.ts';
import { CookieJar } from '../../../src/keymgmt/exchange/cookie.ts';
import { ExchangeError, type ExchangeFault } from '../../../src/keymgmt/exchange/errors.ts';
import { startExchange } from '../../../src/keymgmt/exchange/initiator.ts';
import { decodeFrame, encodeFrame } from '../../../src/keymgmt/exchange/messages.ts';
import {
  type ExchangeResult,
  type Leftovers,
  type ResponderHooks,
  runInitiator,
  runResponder,
} from '../../../src/keymgmt/exchange/protocol.ts';
import { newPair, SPI_A, SPI_B } from './fixture.ts';

const { a, b } = await newPair();

/** Of the first field of an M1, a varint. */
const VERSION_TAG = 0x08;

interface Kernel extends ResponderHooks {
  readonly log: string[];
  readonly keys: { inbound?: Buffer; outbound?: Buffer };
  readonly seen: ExchangeKeys[];
  released: Leftovers | undefined;
}

/** Hooks that write down what they are asked for; `log` may be shared to see the order of both ends. */
function kernel(name: string, spi: number, log: string[] = []): Kernel {
  const held: Kernel = {
    log,
    keys: {},
    seen: [],
    released: undefined,
    async allocateSpi() {
      log.push(`${name} allocates`);
      return spi;
    },
    async installInbound(keys) {
      log.push(`${name} in`);
      held.keys.inbound = Buffer.from(keys.inbound.key);
      held.seen.push(keys);
    },
    async installOutbound(keys) {
      log.push(`${name} out`);
      held.keys.outbound = Buffer.from(keys.outbound.key);
    },
    async release(leftovers) {
      log.push(`${name} releases`);
      held.released = leftovers;
    },
  };
  return held;
}

const faultOf = (error: unknown): ExchangeFault | undefined =>
  error instanceof ExchangeError ? error.fault : undefined;

const settled = async (
  ...runs: Promise<ExchangeResult>[]
): Promise<(ExchangeFault | 'done' | undefined)[]> =>
  (await Promise.allSettled(runs)).map((result) =>
    result.status === 'fulfilled' ? 'done' : faultOf(result.reason),
  );

const wiped = (keys: ExchangeKeys): boolean =>
  [keys.inbound, keys.outbound].every(({ key, salt }) => [...key, ...salt].every((x) => x === 0));

describe('exchange protocol', () => {
  let near: Stream;
  let far: Stream;
  beforeEach(async () => {
    [near, far] = await streamPair();
  });
  afterEach(() => {
    for (const stream of [near, far]) stream.abort(new Error('the test is over'));
  });

  it('P14 installs so that nobody sends before the other can receive', async () => {
    const log: string[] = [];
    const [ka, kb] = [kernel('A', SPI_A, log), kernel('B', SPI_B, log)];
    const [ra, rb] = await Promise.all([runInitiator(near, a, ka), runResponder(far, b, kb)]);
    assert.deepEqual(log, ['A allocates', 'B allocates', 'A in', 'B in', 'B out', 'A out']);
    assert.deepEqual(ka.keys.inbound, kb.keys.outbound);
    assert.deepEqual(ka.keys.outbound, kb.keys.inbound);
    assert.deepEqual([ra.inboundSpi, ra.outboundSpi], [SPI_A, SPI_B]);
    assert.deepEqual([rb.inboundSpi, rb.outboundSpi], [SPI_B, SPI_A]);
    assert.deepEqual(ra.transcriptHash, rb.transcriptHash);
  });

  it('P23 overwrites the keys when they are installed', async () => {
    const [ka, kb] = [kernel('A', SPI_A), kernel('B', SPI_B)];
    await Promise.all([runInitiator(near, a, ka), runResponder(far, b, kb)]);
    assert.ok([...ka.seen, ...kb.seen].every(wiped));
  });

  it('P23 a PSK that a renewal replaced is overwritten at once, also while runs with it are under way', async () => {
    const [pa, pb] = [Uint8Array.from(a.psk), Uint8Array.from(b.psk)];
    const [ka, kb] = [kernel('A', SPI_A), kernel('B', SPI_B)];
    const runs = [
      runInitiator(near, { ...a, psk: pa }, ka),
      runResponder(far, { ...b, psk: pb }, kb),
    ];
    for (const each of [pa, pb]) each.fill(0);
    assert.deepEqual(await settled(...runs), ['done', 'done']);
  });

  it('runs over TCP, Noise and Yamux', async () => {
    const node = (key: typeof a.identity.key) =>
      createLibp2p({
        privateKey: key,
        addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
        transports: [tcp()],
        connectionEncrypters: [noise()],
        streamMuxers: [yamux()],
      });
    const [na, nb] = [await node(a.identity.key), await node(b.identity.key)];
    try {
      const served = Promise.withResolvers<ExchangeResult>();
      await nb.handle('/exchange', (stream, connection) => {
        assert.ok(connection.remotePeer.type === 'Ed25519');
        const context = { ...b, peer: connection.remotePeer };
        void runResponder(stream, context, kernel('B', SPI_B)).then(served.resolve, served.reject);
      });
      const stream = await na.dialProtocol(nb.getMultiaddrs(), '/exchange');
      const result = await runInitiator(stream, a, kernel('A', SPI_A));
      assert.deepEqual(result.transcriptHash, (await served.promise).transcriptHash);

      await nb.unhandle('/exchange');
      await nb.handle('/exchange', (stream) => {
        const hooks: ResponderHooks = { ...kernel('B', SPI_B), admit: () => 'collision' };
        runResponder(stream, b, hooks).catch(() => undefined);
      });
      const second = await na.dialProtocol(nb.getMultiaddrs(), '/exchange');
      await assert.rejects(
        runInitiator(second, a, kernel('A', SPI_A)),
        (error) => error instanceof ExchangeError && error.refusal === 'collision',
      );
    } finally {
      await Promise.all([na.stop(), nb.stop()]);
    }
  });

  it('asks for a cookie under load', async () => {
    const cookies = { jar: new CookieJar(), underLoad: () => true };
    const outcome = await settled(
      runInitiator(near, a, kernel('A', SPI_A)),
      runResponder(far, b, kernel('B', SPI_B), { cookies }),
    );
    assert.deepEqual(outcome, ['done', 'done']);
  });

  it('under load does nothing for who does not return the cookie', async () => {
    const kb = kernel('B', SPI_B);
    kb.admit = () => assert.fail('a run of our own must not yield to this');
    const responder = runResponder(far, b, kb, {
      cookies: { jar: new CookieJar(), underLoad: () => true },
    });
    const frames = lpStream(near);
    const { m1 } = startExchange(a, { inboundSpi: SPI_A });
    await frames.write(m1);
    await frames.read();
    await frames.write(m1);
    assert.deepEqual(await settled(responder), ['cookie']);
    assert.deepEqual(kb.log, []);
  });

  for (const refusal of ['collision', 'overload'] as const) {
    it(`refuses with "${refusal}" before an SPI is allocated`, async () => {
      const [ka, kb] = [kernel('A', SPI_A), kernel('B', SPI_B)];
      const initiator = runInitiator(near, a, ka);
      const outcome = await settled(
        initiator,
        runResponder(far, b, { ...kb, admit: () => refusal }),
      );
      assert.deepEqual(outcome, [refusal, refusal]);
      await assert.rejects(initiator, (e) => e instanceof ExchangeError && e.refusal === refusal);
      assert.deepEqual(kb.log, []);
      assert.deepEqual(ka.released, {
        inboundSpi: SPI_A,
        outboundSpi: undefined,
        inDoubt: false,
      });
    });
  }

  it('tells the peer of a wrong epoch', async () => {
    const initiator = runInitiator(near, { ...a, epoch: 9 }, kernel('A', SPI_A));
    const outcome = await settled(initiator, runResponder(far, b, kernel('B', SPI_B)));
    assert.deepEqual(outcome, ['epoch', 'epoch']);
    await assert.rejects(initiator, (e) => e instanceof ExchangeError && e.refusal === 'epoch');
  });

  it('tells a peer of another version which one it speaks, whatever else its M1 holds', async () => {
    const { m1 } = startExchange(a, { inboundSpi: SPI_A });
    // Behind tag and length of the frame's only field stands the version.
    const begin = m1.indexOf(VERSION_TAG, 2);
    const inner = Buffer.concat([m1.subarray(begin), Uint8Array.of(0x78, 1)]);
    inner[1] = 2;
    const length = Uint8Array.of((inner.length & 0x7f) | 0x80, inner.length >> 7);
    const later = Buffer.concat([m1.subarray(0, 1), length, inner]);
    const answering = runResponder(far, b, kernel('B', SPI_B));
    const frames = lpStream(near);
    const [, raw] = await Promise.all([frames.write(later), frames.read()]);
    assert.equal(decodeFrame(raw.subarray(), ['version']).version, 1);
    await assert.rejects(answering, (error) => faultOf(error) === 'version');
  });

  it('says at both ends that versions differ', async () => {
    const initiator = runInitiator(near, a, kernel('A', SPI_A));
    const frames = lpStream(far);
    await frames.read();
    await frames.write(encodeFrame({ version: 7 }));
    await assert.rejects(initiator, (error) => {
      assert.ok(error instanceof ExchangeError && error.fault === 'version');
      assert.match(error.message, /version 7 .*version 1$/);
      return true;
    });
  });

  it('releases the SPI and wipes the keys wherever an installation fails', async () => {
    for (const [end, hook, inDoubt] of [
      ['A', 'installInbound', false],
      ['A', 'installOutbound', true],
      ['B', 'installInbound', false],
      ['B', 'installOutbound', false],
    ] as const) {
      const [one, two] = await streamPair();
      const broken = async (keys: ExchangeKeys): Promise<void> => {
        failing.seen.push(keys);
        throw new Error('no buffer space available');
      };
      const [ka, kb] = [kernel('A', SPI_A), kernel('B', SPI_B)];
      const failing = end === 'A' ? ka : kb;
      failing[hook] = broken;
      const outcome = await settled(runInitiator(one, a, ka), runResponder(two, b, kb));
      assert.equal(outcome[end === 'A' ? 0 : 1], 'install');
      assert.equal(failing.released?.inboundSpi, end === 'A' ? SPI_A : SPI_B);
      assert.equal(failing.released.outboundSpi !== undefined, hook === 'installOutbound');
      assert.equal(failing.released.inDoubt, inDoubt);
      assert.ok(failing.seen.length > 0 && failing.seen.every(wiped));
    }
  });

  it('leaves the initiator in doubt when the stream breaks after M3', async () => {
    const [ka, kb] = [kernel('A', SPI_A), kernel('B', SPI_B)];
    const breaking = {
      ...kb,
      async installInbound() {
        far.abort(new Error('the responder dies'));
      },
    };
    const [outcome] = await settled(runInitiator(near, a, ka), runResponder(far, b, breaking));
    assert.equal(outcome, 'stream');
    assert.deepEqual(ka.released, { inboundSpi: SPI_A, outboundSpi: undefined, inDoubt: true });
    assert.ok(ka.seen.every(wiped));
  });

  it('ends by itself when the peer says nothing', async () => {
    const outcome = await settled(
      runInitiator(near, a, kernel('A', SPI_A), { timeout: 20 }),
      runResponder((await streamPair())[1], b, kernel('B', SPI_B), { timeout: 20 }),
    );
    assert.deepEqual(outcome, ['timeout', 'timeout']);
  });

  it('ends when the caller aborts, at once or later', async () => {
    const early = kernel('A', SPI_A);
    assert.deepEqual(await settled(runInitiator(near, a, early, { signal: AbortSignal.abort() })), [
      'aborted',
    ]);
    assert.deepEqual(early.log, []);
    const abort = new AbortController();
    const late = kernel('B', SPI_B);
    late.installInbound = async () => abort.abort();
    const [one, two] = await streamPair();
    const outcome = await settled(
      runInitiator(one, a, kernel('A', SPI_A)),
      runResponder(two, b, late, { signal: abort.signal }),
    );
    assert.deepEqual(outcome, ['stream', 'aborted']);
    assert.equal(late.released?.inboundSpi, SPI_B);
  });

  for (const [what, bytes] of [
    ['a frame above the limit', [0xff, 0xff, 0x7f]],
    ['an endless length', Array(64).fill(0x80)],
    ['a padded length', [0x81, 0x80, 0x00]],
    ['an empty frame', [0]],
    ['noise', [20, ...randomBytes(20)]],
  ] as const) {
    it(`P24 survives ${what} at either end`, async () => {
      const kb = kernel('B', SPI_B);
      const responder = runResponder(far, b, kb);
      near.send(Uint8Array.from(bytes));
      const [outcome] = await settled(responder);
      assert.ok(outcome === 'message' || outcome === 'stream', `${outcome}`);
      assert.deepEqual(kb.log, []);

      const [one, two] = await streamPair();
      const initiator = runInitiator(one, a, kernel('A', SPI_A));
      await lpStream(two).read();
      two.send(Uint8Array.from(bytes));
      const [end] = await settled(initiator);
      assert.ok(end === 'message' || end === 'stream', `${end}`);
    });
  }
});
