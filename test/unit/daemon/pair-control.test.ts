import assert from 'node:assert/strict';
import { lpStream, streamPair } from '@libp2p/utils';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { answer, ask, type PairRequest, REQUEST } from '../../../src/daemon/pair/control.ts';

const none = { probe: undefined, deleted: undefined, moved: undefined, received: undefined };
const MOVED = { sequence: 7, multiaddrs: [parseTcpMultiaddr('/ip4/192.0.2.1/tcp/4242')] };

describe('what members tell each other about their SAs', () => {
  const never = new AbortController().signal;

  it('arrives as it was sent, and the answer comes back', async () => {
    const requests: PairRequest[] = [
      ...[{ probe: 256 }, { deleted: 0xffff_ffff }, { moved: MOVED }],
      { received: 300 },
    ];
    for (const request of requests) {
      for (const packets of [undefined, 0, 2 ** 53 - 1]) {
        const told = { known: packets !== 0, packets };
        const [near, far] = await streamPair();
        let heard: PairRequest | undefined;
        const served = answer(
          far,
          (got) => {
            heard = got;
            return told;
          },
          never,
        );
        assert.deepEqual(await ask(near, request, AbortSignal.timeout(30_000)), told);
        await served;
        assert.deepEqual(heard, request);
      }
    }
  });

  it('refuses what is not exactly one request within its bounds', async () => {
    const bad = [
      REQUEST.encode(none),
      REQUEST.encode({ ...none, probe: 256, deleted: 256 }),
      Uint8Array.of(0x08, 0x01), // SPI 1 is reserved
      Uint8Array.of(0x28, 0x01), // field 5 is unknown
      Uint8Array.of(0x1a, 0x05, 0x08, 0x01, 0x12, 0x01, 0x78), // 'x' is no multiaddr
    ];
    for (const bytes of bad) {
      const [near, far] = await streamPair();
      const served = answer(far, () => assert.fail('it was taken'), never);
      const frames = lpStream(near);
      const signal = AbortSignal.timeout(30_000);
      await frames.write(bytes, { signal });
      await assert.rejects(frames.read({ signal }));
      await served;
      assert.ok(!signal.aborted, 'the stream ends at once');
    }
    const many = { ...MOVED, multiaddrs: Array(9).fill(MOVED.multiaddrs[0]) };
    assert.throws(() => REQUEST.encode({ ...none, moved: many }), RangeError);
  });

  it('ends with the signal when no answer comes', async () => {
    const [near] = await streamPair();
    await assert.rejects(ask(near, { probe: 300 }, AbortSignal.timeout(20)));
    assert.notEqual(near.status, 'open');
  });
});
