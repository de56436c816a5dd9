import assert from 'node:assert/strict';
import fc from 'fast-check';
import { chooseKernel } from '../../../lab/choose.ts';

const NOTHING = {
  inLab: false,
  isRoot: true,
  missing: ['netem'],
  configured: undefined,
  cached: '/cache/linux',
  isCached: false,
  boot: false,
};

describe('lab kernel choice', () => {
  it('takes the kernel of the machine before any other', () => {
    const capable = { ...NOTHING, missing: [], configured: '/own/linux', isCached: true };
    assert.equal(chooseKernel(capable).where, 'here');
  });

  it('boots a guest where its kernel is to have parameters', () => {
    const capable = { ...NOTHING, missing: [], configured: '/own/linux', boot: true };
    assert.equal(chooseKernel(capable).where, 'guest');
  });

  it('never looks further once inside a lab', () => {
    assert.equal(chooseKernel({ ...NOTHING, inLab: true, isRoot: false }).where, 'here');
  });

  it('takes the configured kernel before the cached one', () => {
    const choice = chooseKernel({ ...NOTHING, configured: '/own/linux', isCached: true });
    assert.deepEqual(choice, {
      where: 'guest',
      why: 'this kernel has no netem',
      kernel: '/own/linux',
      source: '$ICVPN_LAB_KERNEL',
    });
  });

  it('takes the cached kernel, and builds it where it is not there', () => {
    const cached = chooseKernel({ ...NOTHING, isCached: true });
    const built = chooseKernel(NOTHING);
    assert.ok(cached.where === 'guest' && built.where === 'guest after build');
    assert.equal(cached.kernel, '/cache/linux');
    assert.equal(built.kernel, '/cache/linux');
  });

  it('does not run on the machine without root, whatever its kernel can do', () => {
    const choice = chooseKernel({ ...NOTHING, isRoot: false, missing: [], isCached: true });
    assert.deepEqual([choice.where, choice.why], ['guest', 'not root']);
  });

  it('always says why, and names every missing feature', () => {
    const situations = fc.record({
      inLab: fc.boolean(),
      isRoot: fc.boolean(),
      missing: fc.uniqueArray(fc.constantFrom('veth', 'netem', 'nftables', 'xfrm interfaces')),
      configured: fc.option(fc.constant('/own/linux'), { nil: undefined }),
      cached: fc.constant('/cache/linux'),
      boot: fc.boolean(),
      isCached: fc.boolean(),
    });
    fc.assert(
      fc.property(situations, (situation) => {
        const { where, why } = chooseKernel(situation);
        assert.notEqual(why, '');
        if (situation.inLab || !situation.isRoot) return;
        const { missing, boot } = situation;
        assert.equal(where === 'here', missing.length === 0 && !boot);
        for (const feature of boot ? [] : missing) assert.ok(why.includes(feature), why);
      }),
    );
  });
});
