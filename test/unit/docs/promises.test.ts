import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { MUTATIONS } from '../../mutations/list.ts';
import { promisesOf, withTests } from '../../promises/page.ts';
import { filesByPromise } from '../../promises/titles.ts';

const page = readFileSync('docs/promises.md', 'utf8');
const promises = promisesOf(page);
const files = filesByPromise(process.cwd());

describe('docs/promises.md', () => {
  it('has every promise once, numbered without a gap', () => {
    assert.ok(promises.length >= 36);
    assert.deepEqual(
      promises,
      promises.map((_, i) => i + 1),
    );
  });

  it('has a test for each promise', () => {
    assert.deepEqual(
      promises.filter((number) => !files.has(number)),
      [],
    );
  });

  it('knows every promise that a title or a mutation names', () => {
    const named = [...files.keys(), ...MUTATIONS.map(({ promise }) => Number(promise.slice(1)))];
    assert.deepEqual(
      named.filter((number) => !promises.includes(number)),
      [],
    );
  });

  it('lists the test files that name each promise (npm run promises writes the lists)', () => {
    assert.equal(withTests(page, files), page);
  });
});
