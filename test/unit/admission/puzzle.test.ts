import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { solve, solves } from '../../../src/admission/puzzle.ts';

describe('puzzle', () => {
  const { signal } = new AbortController();

  it('is solved by a number whose hash begins with that many zero bits', async () => {
    for (const bits of [0, 1, 7, 8, 9, 13]) {
      const puzzle = { seed: randomBytes(32), bits };
      const answer = await solve(puzzle, signal);
      assert.ok(solves(puzzle, answer));
      const digest = createHash('sha256').update(puzzle.seed).update(answer).digest('hex');
      const value = BigInt(`0x${digest}`);
      assert.ok(value >> BigInt(256 - bits) === 0n);
    }
  });

  it('is not solved by the answer to another one, nor by none', async () => {
    const puzzle = { seed: randomBytes(32), bits: 16 };
    const answer = await solve(puzzle, signal);
    // By chance it may solve one of them, but not four.
    const others = Array.from({ length: 4 }, () => ({ ...puzzle, seed: randomBytes(32) }));
    assert.ok(!others.every((other) => solves(other, answer)));
    assert.ok(!solves(puzzle, new Uint8Array()));
  });

  it('counts zero bits exactly: half of all answers solve one bit, a quarter two', () => {
    const seed = randomBytes(32);
    const share = (bits: number) =>
      Array.from({ length: 4000 }, () => solves({ seed, bits }, randomBytes(8))).filter(Boolean)
        .length / 4000;
    assert.ok(Math.abs(share(1) - 1 / 2) < 0.06);
    assert.ok(Math.abs(share(2) - 1 / 4) < 0.06);
  });

  it('stops when the caller does', async () => {
    const abort = new AbortController();
    const run = solve({ seed: randomBytes(32), bits: 255 }, abort.signal);
    abort.abort(new Error('enough'));
    await assert.rejects(run, /enough/);
  });
});
