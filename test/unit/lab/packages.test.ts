import assert from 'node:assert/strict';
import { BUILD_PACKAGES, isThere, missingPackages, RUN_PACKAGES } from '../../../lab/packages.ts';

describe('lab packages', () => {
  it('asks for exactly the packages of which nothing is there', () => {
    const there = new Set(RUN_PACKAGES.slice(2).map(({ brings }) => brings));
    const missing = missingPackages(RUN_PACKAGES, (thing) => there.has(thing));
    assert.deepEqual(missing, RUN_PACKAGES.slice(0, 2));
    assert.deepEqual(
      missingPackages(RUN_PACKAGES, () => true),
      [],
    );
  });

  it('knows each package by one thing, and says what it is for', () => {
    const all = [...RUN_PACKAGES, ...BUILD_PACKAGES];
    assert.equal(new Set(all.map(({ name }) => name)).size, all.length);
    assert.equal(new Set(all.map(({ brings }) => brings)).size, all.length);
    for (const { purpose } of all) assert.notEqual(purpose, '');
  });

  it('finds files, and programs on the path and in the directories of the administrator', () => {
    assert.equal(isThere('sh'), true);
    assert.equal(isThere('no-such-program'), false);
    assert.equal(isThere('/etc/passwd'), true);
    assert.equal(isThere('/etc/no-such-file'), false);
    const path = process.env['PATH'];
    process.env['PATH'] = '/nonexistent';
    try {
      assert.equal(isThere('chroot'), true); // coreutils puts it into /usr/sbin
    } finally {
      process.env['PATH'] = path;
    }
  });
});
