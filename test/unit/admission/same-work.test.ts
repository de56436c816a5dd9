/** What a super-peer computes for those that it does not know, beside what it computes for members. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Hello } from '../../../src/admission/messages.ts';
import { type ServerContext, ServerSession } from '../../../src/admission/server-session.ts';
import { SrpEngine } from '../../../src/admission/srp/engine.ts';
import { SUITE_SRP_2048 } from '../../../src/admission/srp/group.ts';
import { keyModExp } from '../../../src/admission/srp/modexp.ts';
import { contextOf, why } from './runs.ts';
import { type Identity, makeIdentity, makeService, type Service } from './world.ts';

const engine = new SrpEngine(SUITE_SRP_2048, keyModExp(SUITE_SRP_2048.group));
const A = engine.clientPublic(randomBytes(32));

describe('P3 a stranger costs the same', () => {
  let superPeer: Identity;
  let shop: Service;
  let vm: Identity;
  let asked: { readonly [cause: string]: Hello };
  before(async () => {
    superPeer = await makeIdentity();
    vm = await makeIdentity();
    shop = await makeService([superPeer.id]);
    const hello = (serviceId: Hello['serviceId'], identity = 'member'): Hello => ({
      ...{ version: 1, suite: 1, serviceId, identity, nonce: randomBytes(32), A },
      ticket: undefined,
    });
    asked = {
      'wrong secret': hello(shop.owner.id),
      'unknown identity': hello(shop.owner.id, 'admin'),
      'unknown service': hello((await makeIdentity()).id),
    };
  });

  async function refusal(context: ServerContext, hello: Hello): Promise<string> {
    const session = new ServerSession(context, { peerId: vm.id, address: '192.0.2.9' });
    await session.hello(hello);
    const guess = { M1: randomBytes(32), confirmation: randomBytes(32), request: randomBytes(64) };
    return why(await session.proof(guess));
  }

  it('with a wrong secret, an unknown identity, and an unknown service: SRP runs in full', async () => {
    for (const [cause, hello] of Object.entries(asked)) {
      const calls: string[] = [];
      const { srp } = contextOf(superPeer, [shop]);
      const counted: ServerContext['srp'] = {
        start: (run) => {
          calls.push(`start with a verifier of ${run.verifier.length} bytes`);
          return srp.start(run);
        },
        finish: (run) => {
          calls.push(`finish with a verifier of ${run.verifier.length} bytes`);
          return srp.finish(run);
        },
      };
      assert.equal(await refusal(contextOf(superPeer, [shop], { srp: counted }), hello), cause);
      const both = ['start', 'finish'].map((step) => `${step} with a verifier of 256 bytes`);
      assert.deepEqual(calls, both, cause);
    }
  });

  it('and takes the same time: the shortest of 40 runs in turns differs by less than half', async () => {
    const context = contextOf(superPeer, [shop]);
    const shortest = new Map<string, number>();
    for (let round = 0; round < 40; round++) {
      for (const [cause, hello] of Object.entries(asked)) {
        const begin = performance.now();
        await refusal(context, hello);
        const took = performance.now() - begin;
        shortest.set(cause, Math.min(took, shortest.get(cause) ?? Number.POSITIVE_INFINITY));
      }
    }
    const times = [...shortest.values()];
    const told = JSON.stringify([...shortest]);
    assert.ok(Math.max(...times) < 1.5 * Math.min(...times), told);
  });
});
