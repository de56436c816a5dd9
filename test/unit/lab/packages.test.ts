import assert from 'node:assert/strict';
import {
  BUILD_PACKAGES,
  hasProgram,
  missingPackages,
  RUN_PACKAGES,
} from '../../../lab/packages.ts';

describe('lab packages', () => {
  it('asks for exactly the packages whose program is not there', () => {
    const there = new Set(['ip', 'tcpdump']);
    const missing = missingPackages(RUN_PACKAGES, (program) => there.has(program));
    assert.deepEqual(missing.map(({ name }) => name).sort(), ['iputils-ping', 'nftables']);
    assert.deepEqual(
      missingPackages(RUN_PACKAGES, () => true),
      [],
    );
  });

  it('knows each package by one program, and says what it is for', () => {
    const all = [...RUN_PACKAGES, ...BUILD_PACKAGES];
    assert.equal(new Set(all.map(({ name }) => name)).size, all.length);
    assert.equal(new Set(all.map(({ program }) => program)).size, all.length);
    for (const { purpose } of all) assert.notEqual(purpose, '');
  });

  it('finds programs on the path and in the directories of the administrator', () => {
    assert.equal(hasProgram('sh'), true);
    assert.equal(hasProgram('no-such-program'), false);
    const path = process.env['PATH'];
    process.env['PATH'] = '/nonexistent';
    try {
      assert.equal(hasProgram('chroot'), true); // coreutils puts it into /usr/sbin
    } finally {
      process.env['PATH'] = path;
    }
  });
});
