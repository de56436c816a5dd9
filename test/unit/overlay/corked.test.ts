import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { lpStream } from '@libp2p/utils';
import { addresses, Cleanup, identity, listen } from './harness.ts';

const ECHO = '/icvpn-test/echo/1.0.0';
/** In one turn; each goes as a message of Yamux and Noise of its own. */
const MESSAGES = 10;

describe('what a turn of the event loop sends', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('goes to the socket in one write, whole and in order', async () => {
    const far = cleanup.add(await listen((await identity()).key));
    const near = cleanup.add(await listen((await identity()).key));
    const received: number[] = [];
    const all = Promise.withResolvers<void>();
    await far.libp2p.handle(ECHO, async (stream) => {
      const lp = lpStream(stream);
      for (let i = 0; i < MESSAGES; i++) received.push((await lp.read()).get(0));
      all.resolve();
    });
    const stream = await near.libp2p.dialProtocol(addresses(far), ECHO);
    const writes = countWrites();
    try {
      for (let i = 0; i < MESSAGES; i++) stream.send(Uint8Array.of(1, i));
      // The socket is uncorked before anything else has a turn.
      await new Promise(setImmediate);
    } finally {
      writes.stop();
    }
    await all.promise;
    assert.deepEqual(
      received,
      Array.from({ length: MESSAGES }, (_, i) => i),
    );
    // The other end may have answered with a window update meanwhile.
    assert.ok(writes.count > 0 && writes.count <= 3, `${writes.count} writes`);
  });
});

/** Counts what all sockets hand to the system. */
function countWrites(): { readonly count: number; stop(): void } {
  const { _write, _writev } = Socket.prototype;
  const counted = {
    count: 0,
    stop: () => Object.assign(Socket.prototype, { _write, _writev }),
  };
  Socket.prototype._write = function (...args) {
    counted.count++;
    return _write.apply(this, args);
  };
  Socket.prototype._writev = function (...args) {
    counted.count++;
    return _writev?.apply(this, args);
  };
  return counted;
}
