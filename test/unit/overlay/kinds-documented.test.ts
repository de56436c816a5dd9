import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import {
  ENDPOINT_RECORD,
  MEMBERSHIP_RECORD,
  recordKey,
  SPREAD_KINDS,
} from '../../../src/overlay/stored-kinds.ts';
import { TOMBSTONE } from '../../../src/records/tombstone.ts';

const page = await readFile(new URL('../../../docs/records.md', import.meta.url), 'utf8');
const size = (bytes: number): string =>
  bytes % 1048576 === 0 ? `${bytes / 1048576} MiB` : `${bytes / 1024} KiB`;

describe('docs/records.md', () => {
  for (const kind of [...SPREAD_KINDS, MEMBERSHIP_RECORD, ENDPOINT_RECORD]) {
    const { name, maxLength } = kind.record;
    it(`tells the key and the size of a ${name}`, () => {
      const row = page.split('\n').find((line) => line.startsWith(`| ${name} |`));
      assert.ok(row, 'no row');
      const parts = row.split('|').map((cell) => cell.trim());
      assert.ok(parts[2]?.startsWith(`\`${recordKey(kind, '<ServiceID>')}`), parts[2]);
      const signerIsNamed = kind.signerPart === 0 ? parts[3] === 'the owner' : true;
      assert.ok(signerIsNamed, parts[3]);
      assert.equal(parts[5], size(maxLength));
    });
  }

  it('tells the size of a tombstone', () => {
    assert.match(page, new RegExp(`\\| tombstone .*\\| ${size(TOMBSTONE.maxLength)} \\|`));
  });
});
