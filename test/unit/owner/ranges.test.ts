import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { message, required, uint53 } from '../../../src/codec/protobuf.ts';
import { OwnerError } from '../../../src/owner/errors.ts';
import { nextRange } from '../../../src/owner/ranges.ts';
import {
  type AddressRange,
  addressesIn,
  addressRange,
  overlapping,
  RANGE_UNITS,
} from '../../../src/records/address-range.ts';
import { MAX_ADMITTERS } from '../../../src/records/descriptor.ts';

const prefixOf = (length: number) => ({ network: '10.0.0.0', length });
const sizeOf = (length: number, range: AddressRange): number => {
  const { from, to } = addressesIn(prefixOf(length), range);
  return to - from;
};

/** The ranges of so many super-peers that are named one after the other. */
function rangesOf(length: number, count: number): AddressRange[] {
  const ranges: AddressRange[] = [];
  for (let i = 0; i < count; i++) ranges.push(nextRange(prefixOf(length), ranges, i));
  return ranges;
}

describe('ranges of super-peers', () => {
  it('P26 of two super-peers at /16 hold 10,000 members each, and 62 more super-peers get one', () => {
    const ranges = rangesOf(16, MAX_ADMITTERS);
    const [first = 0, second = 0, ...others] = ranges.map((range) => sizeOf(16, range));
    assert.ok(first > 10_000 && second > 10_000);
    assert.ok(others.every((size) => size >= 3));
  });

  it('P26 never overlap, whoever comes and goes, and there is one for each that may be named', () => {
    const act = fc.record({ remove: fc.boolean(), which: fc.nat() });
    const property = fc.property(
      fc.integer({ min: 8, max: 24 }),
      fc.array(act, { maxLength: 200 }),
      (length, acts) => {
        let named: AddressRange[] = [];
        for (const { remove, which } of acts) {
          if (remove && named.length > 0)
            named = named.filter((_, i) => i !== which % named.length);
          else if (named.length < MAX_ADMITTERS) {
            const range = nextRange(prefixOf(length), named, named.length);
            assert.ok(range.first >= 0 && range.first + range.count <= RANGE_UNITS);
            assert.ok(named.every((each) => !overlapping(each, range)));
            assert.ok(sizeOf(length, range) >= 2);
            named.push(range);
          }
        }
        while (named.length < MAX_ADMITTERS)
          named.push(nextRange(prefixOf(length), named, named.length));
      },
    );
    fc.assert(property);
  });

  it('say so when none is left', () => {
    const used = [{ first: 0, count: RANGE_UNITS }];
    assert.throws(
      () => nextRange(prefixOf(16), used, 1),
      (error) => error instanceof OwnerError && error.code === 'ERR_NO_ADDRESS_RANGE',
    );
  });

  it('P26 are read from a descriptor of the form before, as its 64 equal slots', () => {
    const codec = message({ range: required(3, addressRange()) });
    const before = message({ slot: required(3, uint53()) });
    for (let slot = 0; slot < 64; slot++) {
      const { range } = codec.decode(before.encode({ slot }));
      assert.deepEqual(range, { first: 16 * slot, count: 16 });
      assert.deepEqual(codec.decode(codec.encode({ range })).range, range);
      // What nodes of the form before read: no slot, so that they refuse the descriptor rather than misread it.
      assert.ok(before.decode(codec.encode({ range })).slot >= 64);
    }
    for (const slot of [64, 1023, 1025 * 1024, RANGE_UNITS * 2 + RANGE_UNITS - 1]) {
      assert.throws(() => codec.decode(before.encode({ slot })), { code: 'ERR_DECODE' });
    }
  });

  it('are as large as docs/addresses.md says', async () => {
    const page = await readFile(new URL('../../../docs/addresses.md', import.meta.url), 'utf8');
    const rows = [
      ...page.matchAll(/^\| \/(\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$/gm),
    ];
    assert.equal(rows.length, 4);
    for (const [, length, ...sizes] of rows) {
      const ranges = rangesOf(Number(length), 10);
      const [first, second, third] = ranges;
      const unit = 2 ** (32 - Number(length)) / RANGE_UNITS;
      assert.deepEqual(
        sizes.map((each) => Number(each.replaceAll(',', ''))),
        [first, second, third, ranges[9]].map((range) => (range?.count ?? 0) * unit),
      );
    }
  });
});
