import assert from 'node:assert/strict';
import { type NoSaFacts, noSaText, whyNoSa } from '../../../src/daemon/no-sa.ts';
import { GateError } from '../../../src/overlay/pass.ts';

const facts: NoSaFacts = {
  ...{ own: ['10.1.2.2'], observed: [], told: ['10.1.3.2'], hasWay: true, failure: undefined },
};
const text = (change: Partial<NoSaFacts>): string => noSaText(whyNoSa({ ...facts, ...change }));
const unreachable = new GateError('ERR_UNREACHABLE', 'cannot connect');

describe('P34 why there is no SA with a member', () => {
  it('is that nothing was sent, until something was', () => {
    assert.equal(whyNoSa(facts).reason, 'idle');
    assert.equal(text({}), 'nothing was sent yet');
  });

  it('is that the two have no address family in common, whatever else', () => {
    for (const failure of [undefined, unreachable]) {
      const found = whyNoSa({ ...facts, told: ['2001:db8::7'], hasWay: false, failure });
      assert.equal(found.reason, 'no-common-family');
    }
    assert.equal(whyNoSa({ ...facts, own: ['2001:db8::1', '10.1.2.2'] }).reason, 'idle');
    assert.match(text({ told: ['2001:db8::7'] }), /no common address family.*2001:db8::7/);
  });

  it('is that there is no way to what it tells', () => {
    assert.equal(text({ hasWay: false }), 'no route to 10.1.3.2');
    assert.equal(text({ hasWay: false, told: [] }), 'no route to it: it tells no address');
  });

  it('is that its port for control connections does not answer, and that this VM is behind a NAT as well', () => {
    const plain = whyNoSa({ ...facts, failure: unreachable });
    assert.deepEqual([plain.reason, plain.behindNat], ['unreachable', false]);
    assert.equal(noSaText(plain), 'its control port does not answer at 10.1.3.2');
    assert.match(text({ failure: unreachable, observed: ['192.0.2.1'] }), /forwarded port/);
  });

  it('is what the key exchange failed by', () => {
    const failure = new Error('the peer is in epoch 2, not 1');
    assert.equal(text({ failure }), `the key exchange failed: ${failure.message}`);
    assert.equal(whyNoSa({ ...facts, failure }).reason, 'failed');
  });
});
