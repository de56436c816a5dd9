import assert from 'node:assert/strict';
import fc from 'fast-check';
import { reader as protonsReader } from 'protons-runtime';
import {
  bytes,
  DecodeError,
  type Infer,
  message,
  optional,
  repeated,
  required,
  string,
  uint32,
  uint53,
} from '../../../src/codec/protobuf.ts';

const Inner = message({ text: required(1, string({ max: 20 })) });
const Sample = message({
  count: required(1, uint53()),
  raw: required(2, bytes({ max: 300 })),
  note: optional(3, string({ max: 40 })),
  list: repeated(4, uint32(), { max: 5 }),
  inner: repeated(1000, Inner, { max: 3 }),
});
type Sample = Infer<typeof Sample>;

const shortText = (max: number) =>
  fc.string({ unit: 'grapheme', maxLength: max }).filter((s) => Buffer.byteLength(s) <= max);
const sample: fc.Arbitrary<Sample> = fc.record(
  {
    count: fc.maxSafeNat(),
    raw: fc.uint8Array({ maxLength: 300 }),
    note: fc.option(shortText(40), { nil: undefined }),
    list: fc.array(fc.nat({ max: 0xffff_ffff }), { maxLength: 5 }),
    inner: fc.array(fc.record({ text: shortText(20) }, { noNullPrototype: true }), {
      maxLength: 3,
    }),
  },
  { noNullPrototype: true },
);

describe('protobuf codec', () => {
  it('decodes what it encoded', () => {
    fc.assert(
      fc.property(sample, (value) => {
        assert.deepEqual(Sample.decode(Sample.encode(value)), value);
      }),
    );
  });

  it('writes bytes that an ordinary protobuf decoder reads', () => {
    fc.assert(
      fc.property(sample, (value) => {
        const reader = protonsReader(Sample.encode(value));
        let note: string | undefined;
        while (reader.pos < reader.len) {
          const tag = reader.uint32();
          if (tag >>> 3 === 1) assert.equal(reader.uint64(), BigInt(value.count));
          else if (tag >>> 3 === 2) assert.deepEqual(Uint8Array.from(reader.bytes()), value.raw);
          else if (tag >>> 3 === 3) note = reader.string();
          else reader.skipType(tag & 7);
        }
        assert.equal(note, value.note);
      }),
    );
  });

  it('P24 accepts no second spelling of a value and throws nothing but DecodeError', () => {
    fc.assert(
      fc.property(sample, fc.nat(), fc.nat({ max: 255 }), (value, where, byte) => {
        const wire = Sample.encode(value);
        wire[where % wire.length] = byte;
        let decoded: Sample;
        try {
          decoded = Sample.decode(wire);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
          return;
        }
        assert.deepEqual(Sample.encode(decoded), wire);
      }),
      { numRuns: 3000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (wire) => {
        try {
          assert.deepEqual(Sample.encode(Sample.decode(wire)), wire);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 3000 },
    );
  });

  for (const [what, wire, path] of [
    ['a missing field', [8, 1], 'raw'],
    ['an unknown field', [8, 1, 18, 0, 0x28, 1], ''],
    ['fields out of order', [18, 0, 8, 1], ''],
    ['a scalar twice', [8, 1, 8, 1, 18, 0], 'count'],
    ['an over-long varint', [8, 0x81, 0, 18, 0], 'count'],
    ['a varint above 2^53', [8, 255, 255, 255, 255, 255, 255, 255, 255, 1, 18, 0], 'count'],
    ['a length past the end', [8, 1, 18, 9, 0], 'raw'],
    ['too many entries', [8, 1, 18, 0, ...Array(6).fill([32, 1]).flat()], 'list'],
    ['text that is not UTF-8', [8, 1, 18, 0, 26, 1, 0xff], 'note'],
    ['the wrong wire type', [10, 0, 18, 0], 'count'],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(
        () => Sample.decode(Uint8Array.from(wire)),
        (error) => error instanceof DecodeError && error.path === path,
      );
    });
  }

  it('keeps what it decoded when the bytes it came from are overwritten', () => {
    const value: Sample = { count: 1, raw: Uint8Array.of(7, 8), note: 'x', list: [], inner: [] };
    for (const wire of [Sample.encode(value), Buffer.from(Sample.encode(value))]) {
      const decoded = Sample.decode(wire);
      wire.fill(0);
      assert.deepEqual(decoded, value);
    }
  });

  it('names the field that a value breaks when encoding', () => {
    const value: Sample = {
      count: -1,
      raw: new Uint8Array(),
      note: undefined,
      list: [],
      inner: [],
    };
    assert.throws(() => Sample.encode(value), /^RangeError: count: /);
  });
});
