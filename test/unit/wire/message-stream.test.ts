import assert from 'node:assert/strict';
import { lpStream, streamPair } from '@libp2p/utils';
import { message, required, uint32 } from '../../../src/codec/protobuf.ts';
import { MessageStream, RAW } from '../../../src/wire/message-stream.ts';

const NUMBER = message({ number: required(1, uint32()) });
const LIMIT = {
  get signal(): AbortSignal {
    return AbortSignal.timeout(60_000);
  },
};

async function pair(maxLength = 1_000) {
  const [near, far] = await streamPair();
  const stream = new MessageStream(far, { reads: RAW, writes: RAW, maxLength });
  return { near, far, stream };
}

/** Resolves when the other end has been reset. */
function reset(stream: Awaited<ReturnType<typeof pair>>['near']): Promise<void> {
  if (stream.status !== 'open') return Promise.resolve();
  return new Promise((resolve) => {
    stream.addEventListener('close', () => resolve(), { once: true });
  });
}

describe('A stream of messages', () => {
  it('speaks with the framing of libp2p, both ways', async () => {
    const { near, stream } = await pair();
    const theirs = lpStream(near);
    await theirs.write(Uint8Array.of(1, 2, 3));
    assert.deepEqual(await stream.read(LIMIT), Uint8Array.of(1, 2, 3));
    await stream.write(new Uint8Array(1_000).fill(7), LIMIT);
    assert.deepEqual(
      Uint8Array.from((await theirs.read()).subarray()),
      new Uint8Array(1_000).fill(7),
    );
  });

  it('is typed by its codecs', async () => {
    const [near, far] = await streamPair();
    const options = { reads: NUMBER, writes: NUMBER, maxLength: 16 };
    await new MessageStream(near, options).write({ number: 42 }, LIMIT);
    assert.deepEqual(await new MessageStream(far, options).read(LIMIT), { number: 42 });
  });

  it('gives what came before the other end closed, then says so', async () => {
    const { near, stream } = await pair();
    const theirs = lpStream(near);
    for (const each of [1, 2]) await theirs.write(Uint8Array.of(each));
    await near.close(LIMIT);
    assert.deepEqual(await stream.read(LIMIT), Uint8Array.of(1));
    assert.deepEqual(await stream.read(LIMIT), Uint8Array.of(2));
    await assert.rejects(stream.read(LIMIT), { code: 'ERR_STREAM_ENDED' });
  });

  it('ends a read at once when half a message came before the close, or the stream is reset', async () => {
    const half = await pair();
    half.near.send(Uint8Array.of(5, 1, 2));
    const reading = half.stream.read(LIMIT);
    await half.near.close(LIMIT);
    await assert.rejects(reading, { code: 'ERR_STREAM_ENDED' });
    const cut = await pair();
    const waiting = cut.stream.read(LIMIT);
    cut.near.abort(new Error('gone'));
    await assert.rejects(waiting, { name: 'StreamResetError' });
  });

  it('ends a read with the reason of its signal, and can be read afterwards', async () => {
    const { near, stream } = await pair();
    const stop = new AbortController();
    const reading = stream.read({ signal: stop.signal });
    stop.abort(new Error('enough'));
    await assert.rejects(reading, { message: 'enough' });
    await assert.rejects(stream.read({ signal: stop.signal }), { message: 'enough' });
    near.send(Uint8Array.of(1, 9));
    assert.deepEqual(await stream.read(LIMIT), Uint8Array.of(9));
  });

  it('P5 resets a length that never ends, read or not', async () => {
    for (const read of [true, false]) {
      const { near, far, stream } = await pair();
      const reading = read ? stream.read(LIMIT) : undefined;
      const failed = reading && assert.rejects(reading, { code: 'ERR_MESSAGE_LENGTH' });
      near.send(new Uint8Array(1024 * 1024).fill(0x80));
      await reset(near);
      assert.equal(far.status, 'aborted');
      await failed;
      await assert.rejects(stream.read(LIMIT), { code: 'ERR_MESSAGE_LENGTH' });
    }
  });

  it('P5 resets a remote that sends more than is read, in large messages or in empty ones', async () => {
    for (const each of [Uint8Array.of(0), Uint8Array.of(2, 1, 1), new Uint8Array(401).fill(100)]) {
      const { near, stream } = await pair();
      const copies = Array.from({ length: Math.ceil(4_000 / each.length) }, () => each);
      near.send(Buffer.concat(copies));
      await reset(near);
      await assert.rejects(stream.read(LIMIT), { code: 'ERR_MESSAGE_OVERFLOW' });
    }
  });

  it('writes nothing on a stream that has ended', async () => {
    const { near, far, stream } = await pair();
    near.abort(new Error('gone'));
    await reset(far);
    await assert.rejects(stream.write(Uint8Array.of(1), LIMIT));
  });
});
