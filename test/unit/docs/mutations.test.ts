import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { MUTATIONS } from '../../mutations/list.ts';
import { mutated } from '../../mutations/mutation.ts';

describe('mutations', () => {
  it('are at least 60, each with a title of its own', () => {
    assert.ok(MUTATIONS.length >= 60);
    const titles = MUTATIONS.map(({ promise, title }) => `${promise} ${title}`);
    assert.equal(new Set(titles).size, titles.length);
  });

  it('find the text that they change, and the tests that should notice', () => {
    for (const mutation of MUTATIONS) {
      const source = readFileSync(mutation.file, 'utf8');
      assert.notEqual(mutated(source, mutation), source);
      for (const file of mutation.tests) assert.ok(existsSync(file), file);
    }
  });
});
