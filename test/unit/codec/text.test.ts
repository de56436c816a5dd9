import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DecodeError, message, required, string } from '../../../src/codec/protobuf.ts';
import {
  isPlain,
  parseName,
  plainText,
  remark,
  TextError,
  visible,
  visibleLines,
} from '../../../src/codec/text.ts';

const any = message({ text: required(1, string({ max: 10_000 })) });
const plain = message({ text: required(1, plainText({ max: 10_000 })) });
const short = message({ text: required(1, remark({ max: 40 })) });

/** Texts with many characters that terminals act on or do not show. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ...'\u0000\t\n\r\u001b\u007f\u009b\u00ad\u200b\u202e\u2028\u2066\ufeff \u00a0',
      ),
      fc.string({ unit: 'binary' }),
    ),
  )
  .map((parts) => parts.join(''));

const NAMES = ['i-0123', 'web 1', 'db/primary', 'Straße', '机器一', 'ünïcode', '🚀'];

describe('text for people', () => {
  for (const name of NAMES) {
    it(`takes ${name}, and shows it as it is`, () => {
      assert.equal(parseName(name, 'a name', 64), name);
      assert.equal(visible(name), name);
      assert.equal(plain.decode(any.encode({ text: name })).text, name);
    });
  }

  it('P27 is shown without a character that a terminal acts on, on one line', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        assert.doesNotMatch(visible(text), /[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]/u);
        assert.equal(visibleLines(text).split('\n').length, text.split('\n').length);
        assert.deepEqual(
          JSON.parse(visible(JSON.stringify(text))),
          text.toWellFormed() === text ? text : JSON.parse(JSON.stringify(text)),
        );
      }),
    );
  });

  it('P27 from outside is plain or refused, typed', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const bytes = any.encode({ text: text.toWellFormed().slice(0, 2_000).toWellFormed() });
        const { text: sent } = any.decode(bytes);
        if (isPlain(sent)) assert.equal(plain.decode(bytes).text, sent);
        else assert.throws(() => plain.decode(bytes), DecodeError);
      }),
    );
  });

  it('P27 as why a node refused is always sent: plain, and cut to what there is room for', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const { text: got } = short.decode(short.encode({ text }));
        assert.ok(isPlain(got) && Buffer.byteLength(got) <= 40, JSON.stringify(got));
      }),
    );
  });

  it('P34 as a name says what is wrong with it, and shows it plainly', () => {
    for (const [text, why] of [
      ['', /has 0 bytes/],
      ['a'.repeat(129), /has 129 bytes/],
      ['x\u001b[2J', /"x\\u001b\[2J" cannot be a VMID: it has characters/],
      ['x ', /space at its end/],
    ] as const) {
      assert.throws(
        () => parseName(text, 'a VMID', 128),
        (error) => {
          assert.ok(error instanceof TextError);
          assert.match(error.message, why);
          return error.remedy.length > 0;
        },
      );
    }
  });
});
