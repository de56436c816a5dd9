import assert from 'node:assert/strict';
import { learnPolicy } from '../../../src/daemon/policy-news.ts';
import type { ServicePolicy } from '../../../src/overlay/service-trust.ts';
import { parsePolicy } from '../../../src/policy/document.ts';
import { identity } from '../overlay/harness.ts';

const superPeer = (await identity()).id;
const document = parsePolicy(new TextEncoder().encode('{"version":1}'));
const signal = new AbortController().signal;
const log = (): void => {};

/** A tier in which the first `failures` questions fail. */
function tier(failures: number, policy?: ServicePolicy) {
  let asked = 0;
  const learn = async (): Promise<void> => {
    if (asked++ < failures) throw new Error('no answer');
  };
  return { learn, trust: { policy }, asked: () => asked };
}

describe('learning the policy at start', () => {
  it('asks the super-peer, again if it must', async () => {
    for (const failures of [0, 1]) {
      const own = tier(failures);
      await learnPolicy(own, { superPeer }, { log, signal });
      assert.equal(own.asked(), failures + 1);
    }
  });

  it('P17 does not take silence for the absence of a policy', async () => {
    await assert.rejects(learnPolicy(tier(9), { superPeer }, { log, signal }), {
      code: 'ERR_POLICY_UNKNOWN',
    });
    await assert.rejects(learnPolicy(tier(0), { superPeer: undefined }, { log, signal }), {
      code: 'ERR_POLICY_UNKNOWN',
    });
  });

  it('goes on with the one from before a restart', async () => {
    const own = tier(9, { sequence: 1, document });
    await learnPolicy(own, { superPeer }, { log, signal });
    assert.equal(own.asked(), 3);
  });

  it('ends at once when it is told to', async () => {
    const stop = new AbortController();
    const learning = learnPolicy(tier(9), { superPeer }, { log, signal: stop.signal });
    stop.abort(new Error('enough'));
    await assert.rejects(learning);
  });
});
