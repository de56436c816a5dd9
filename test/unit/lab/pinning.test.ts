import assert from 'node:assert/strict';
import fc from 'fast-check';
import { allowedCpus, parseCpuList, pickCpus } from '../../../lab/pinning.ts';

describe('lab pinning', () => {
  it('reads sets of CPUs', () => {
    assert.deepEqual(parseCpuList('0'), [0]);
    assert.deepEqual(parseCpuList('0-3,8,10-11'), [0, 1, 2, 3, 8, 10, 11]);
    assert.ok(allowedCpus().length >= 1);
  });

  it('gives a second guest the CPU that the first has not', () => {
    assert.deepEqual(pickCpus([4, 5], [4], 1), [5]);
    assert.deepEqual(pickCpus([4, 5], [4, 5, 5], 1), [4]);
  });

  it('picks different allowed CPUs, as many as asked for and there', () => {
    const cpus = fc.uniqueArray(fc.nat(64), { minLength: 1 });
    fc.assert(
      fc.property(cpus, fc.array(fc.nat(64)), fc.integer({ min: 1, max: 8 }), (may, taken, n) => {
        const picked = pickCpus(may, taken, n);
        assert.equal(picked.length, Math.min(n, may.length));
        assert.equal(new Set(picked).size, picked.length);
        assert.ok(picked.every((cpu) => may.includes(cpu)));
      }),
    );
  });
});
