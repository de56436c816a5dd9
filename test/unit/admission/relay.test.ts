/**
 * The relay: Mallory has no secret. She takes Alice's connection, and carries every message between
 * Alice and the super-peer over her own.
 *
 *    Alice ──Noise──▶ Mallory ──Noise──▶ super-peer
 *            m1, m3 unchanged   m2, m4 unchanged
 */
import assert from 'node:assert/strict';
import type { Ed25519PeerId } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import { requestAdmission } from '../../../src/admission/client.ts';
import { ADMISSION_PROTOCOL } from '../../../src/admission/server.ts';
import { attemptAdmission, contextOf, why } from './runs.ts';
import { dial, makeIdentity, makeService, serve, World } from './world.ts';

describe('P6 an admission cannot be relayed', () => {
  it('over the network: nobody is admitted', async () => {
    const world = new World();
    try {
      const superPeer = await world.superPeer(await makeIdentity());
      const shop = await makeService([superPeer.id]);
      serve(superPeer, shop);
      const [alice, mallory] = [await makeIdentity(), await makeIdentity()];
      const [aliceNode, malloryNode] = [await world.node(alice.key), await world.node(mallory.key)];
      const carried: number[] = [];
      await malloryNode.handle(ADMISSION_PROTOCOL, async (stream) => {
        const near = lpStream(stream);
        const far = lpStream(await dial(malloryNode, superPeer.node));
        for (const [from, to] of [
          [near, far],
          [far, near],
          [near, far],
          [far, near],
        ] as const) {
          const carry = (await from.read()).subarray();
          carried.push(carry.length);
          await to.write(carry);
        }
      });
      await assert.rejects(
        requestAdmission(await dial(aliceNode, malloryNode), {
          key: alice.key,
          superPeer: mallory.id,
          serviceId: shop.owner.id,
          secret: shop.secret,
          vmid: 'i-1',
          roles: [],
          multiaddrs: [],
        }),
        (error) =>
          error instanceof Error && 'code' in error && error.code === 'ERR_ADMISSION_REFUSED',
      );
      assert.equal(carried.length, 4, 'the relay carried the whole run');
      assert.equal(superPeer.admitted.length, 0);
    } finally {
      await world.stop();
    }
  });

  it('because the PeerIDs are confirmed: M1 itself holds in a relayed run', async () => {
    const [superPeer, alice, mallory] = [
      await makeIdentity(),
      await makeIdentity(),
      await makeIdentity(),
    ];
    const service = await makeService([superPeer.id]);
    const context = contextOf(superPeer, [service]);
    const run = async (seen: { seenAs?: Ed25519PeerId; believes?: Ed25519PeerId }) => {
      const attempt = { vm: alice, serviceId: service.owner.id, secret: service.secret, ...seen };
      return why((await attemptAdmission(context, attempt)).verdict);
    };
    assert.equal(await run({}), 'admitted');
    // Not 'wrong secret': SRP's own proof passed each time, and only the binding refused.
    const relayed = await run({ believes: mallory.id, seenAs: mallory.id });
    assert.equal(relayed, 'wrong confirmation');
    assert.equal(await run({ seenAs: mallory.id }), 'wrong confirmation');
    assert.equal(await run({ believes: mallory.id }), 'wrong confirmation');
  });
});
