import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { recompute } from './reference.ts';
import { makeVectors, VECTORS_FILE, type Vector } from './vectors.ts';

const stored: Vector[] = JSON.parse(await readFile(VECTORS_FILE, 'utf8'));

describe('exchange test vectors', () => {
  it('are what the exchange computes', async () => {
    assert.deepEqual(JSON.parse(JSON.stringify(await makeVectors())), stored);
  });

  for (const vector of stored) {
    it(`are what a second implementation computes: ${vector.name}`, () => {
      const again = recompute(vector);
      for (const [name, value] of Object.entries(again)) {
        assert.deepEqual(value, Object.entries(vector).find(([key]) => key === name)?.[1], name);
      }
    });
  }
});
