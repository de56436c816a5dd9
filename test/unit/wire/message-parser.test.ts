import assert from 'node:assert/strict';
import fc from 'fast-check';
import { varint } from 'multiformats';
import { MessageStreamError } from '../../../src/wire/errors.ts';
import { encodeLength, MessageParser } from '../../../src/wire/message-parser.ts';

/** Feeds `pieces` one after the other. @returns the messages, and the bytes taken until one was refused */
function parse(maxLength: number, pieces: readonly Uint8Array[]) {
  const parser = new MessageParser(maxLength);
  const messages: Uint8Array[] = [];
  let taken = 0;
  let held = 0;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      const before = at;
      const { message, end } = parser.next(piece, at);
      assert.ok(end > before, 'the parser moves on');
      at = end;
      taken += end - before;
      held = Math.max(held, parser.held);
      if (message !== undefined) messages.push(message);
    }
  }
  return { messages, taken, held };
}

/** The same bytes in pieces that end at `cuts`. */
function cut(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...cuts.map((each) => each % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  );
  return ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end));
}

describe('Length-prefixed messages', () => {
  it('P24 come out as they went in, in whatever pieces', () => {
    const messages = fc.array(fc.uint8Array({ maxLength: 3_000 }), { maxLength: 8 });
    fc.assert(
      fc.property(messages, fc.array(fc.nat()), (sent, cuts) => {
        const bytes = Buffer.concat(sent.flatMap((each) => [encodeLength(each.length), each]));
        const { messages: got } = parse(3_000, cut(bytes, cuts));
        assert.deepEqual(
          got.map((each) => Buffer.from(each)),
          sent.map((each) => Buffer.from(each)),
        );
        for (const each of got) assert.equal(each.buffer.byteLength, each.length, 'its own memory');
      }),
    );
  });

  it('have the lengths that another implementation writes', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 28 - 1), (length) => {
        const theirs = varint.encodeTo(length, new Uint8Array(varint.encodingLength(length)));
        assert.deepEqual(encodeLength(length), Uint8Array.from(theirs));
      }),
    );
    assert.throws(() => encodeLength(2 ** 28), RangeError);
  });

  for (const [maxLength, longest] of [
    [127, 1],
    [1_024, 2],
    [100_000, 3],
    [4_000_000, 4],
  ] as const) {
    it(`P5 are refused after ${longest} bytes of a length that never ends, below ${maxLength}`, () => {
      const endless = new Uint8Array(1024 * 1024).fill(0x80);
      const parser = new MessageParser(maxLength);
      for (let i = 0; i < longest - 1; i++) {
        assert.deepEqual(parser.next(endless.subarray(i, i + 1)), { message: undefined, end: 1 });
      }
      assert.throws(() => parser.next(endless), { code: 'ERR_MESSAGE_LENGTH' });
    });
  }

  it('P24 are refused when their length is too large or is padded', () => {
    const lengths = fc.tuple(fc.integer({ min: 1, max: 2 ** 27 }), fc.nat(2 ** 27));
    fc.assert(
      fc.property(lengths, fc.boolean(), ([maxLength, length], padded) => {
        const bytes = padded
          ? Uint8Array.of(...encodeLength(length).map((each) => each | 0x80), 0)
          : encodeLength(maxLength + 1 + length);
        assert.throws(() => parse(maxLength, [bytes]), { code: 'ERR_MESSAGE_LENGTH' });
      }),
    );
  });

  it('P5 take memory for what came of them, not for what is claimed', () => {
    const claim = encodeLength(100_000_000);
    const { held } = parse(100_000_000, [Uint8Array.of(...claim, ...new Uint8Array(10_000))]);
    assert.ok(held <= 20_000, `${held} bytes`);
  });

  it('P24 survive whatever bytes come, with a typed error', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array()),
        fc.integer({ min: 0, max: 2 ** 20 }),
        (pieces, max) => {
          try {
            parse(max, pieces);
          } catch (error) {
            assert.ok(error instanceof MessageStreamError);
          }
        },
      ),
    );
  });
});
