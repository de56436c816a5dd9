import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FrameCounter } from '../../../src/overlay/frame-counter.ts';

/** Of less than 16 KiB. */
const lengthOf = ({ length }: Uint8Array): number[] =>
  length < 0x80 ? [length] : [(length & 0x7f) | 0x80, length >> 7];
const framed = (message: Uint8Array): Uint8Array =>
  Uint8Array.from([...lengthOf(message), ...message]);

describe('counter of messages', () => {
  it('counts each once, however the stream is cut', () => {
    const messages = fc.array(
      fc.oneof(fc.uint8Array({ maxLength: 5 }), fc.uint8Array({ minLength: 120, maxLength: 400 })),
    );
    fc.assert(
      fc.property(messages, fc.array(fc.integer({ min: 1, max: 200 })), (all, cuts) => {
        const bytes = Buffer.concat(all.map(framed));
        const pieces: Uint8Array[] = [];
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          pieces.push(bytes.subarray(at, at + cut));
          at += cut;
        }
        const counter = new FrameCounter();
        const counts = pieces.map((piece) => counter.count([piece]));
        assert.equal(
          counts.reduce((sum, each) => sum + each, 0),
          all.length,
        );
        assert.equal(new FrameCounter().count(pieces), all.length);
      }),
    );
  });

  it('P24 takes a length that does not end for one message', () => {
    const endless = new Uint8Array(1_000).fill(0xff);
    assert.equal(new FrameCounter().count([endless]), 1);
  });
});
