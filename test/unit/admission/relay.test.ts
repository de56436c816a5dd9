/**
 * The relay: Mallory has no secret. She takes Alice's connection, and carries every message between
 * Alice and the super-peer over her own.
 *
 *    Alice ──Noise──▶ Mallory ──Noise──▶ super-peer
 *            m1, m3 unchanged   m2, m4 unchanged
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Ed25519PeerId } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import { requestAdmission } from '../../../src/admission/client.ts';
import { ClientSession } from '../../../src/admission/client-session.ts';
import { Decoys } from '../../../src/admission/decoy.ts';
import { parseServiceSecret } from '../../../src/admission/secret.ts';
import { ADMISSION_PROTOCOL } from '../../../src/admission/server.ts';
import { ServerSession } from '../../../src/admission/server-session.ts';
import { SrpEngine } from '../../../src/admission/srp/engine.ts';
import { SUITE_SRP_2048 } from '../../../src/admission/srp/group.ts';
import { keyModExp } from '../../../src/admission/srp/modexp.ts';
import {
  dial,
  type Identity,
  makeIdentity,
  makeService,
  type Service,
  serve,
  World,
} from './world.ts';

const engine = new SrpEngine(SUITE_SRP_2048, keyModExp(SUITE_SRP_2048.group));

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

  /** One run in memory, each end believing the connection to be between the PeerIDs it is given. */
  async function run(parts: {
    service: Service;
    superPeer: Identity;
    seenByVm: { self: Ed25519PeerId; superPeer: Ed25519PeerId };
    seenBySuperPeer: Ed25519PeerId;
  }) {
    const { service, superPeer, seenByVm, seenBySuperPeer } = parts;
    const client = new ClientSession({
      ...seenByVm,
      serviceId: service.owner.id,
      secret: parseServiceSecret(service.secret),
      request: { vmid: 'i-1', roles: [], multiaddrs: [] },
      random: (length) => randomBytes(length),
      clock: Date.now,
    });
    const server = new ServerSession(
      {
        key: superPeer.key,
        self: superPeer.id,
        decoys: new Decoys(superPeer.key),
        services: () => service.served,
        assignIpv4: () => '100.64.0.1',
        random: (length) => randomBytes(length),
        clock: Date.now,
        srp: {
          start: async ({ verifier, b }) => engine.serverPublic(verifier, b),
          finish: async ({ login, A, M1, ...own }) => engine.serverSession(login, own, A, M1),
        },
      },
      { peerId: seenBySuperPeer, address: '' },
    );
    const reply = await server.hello(client.hello());
    assert.ok('challenge' in reply && reply.challenge);
    return server.proof(await client.challenge(reply.challenge));
  }

  it('because the PeerIDs are confirmed: M1 itself holds in a relayed run', async () => {
    const [superPeer, alice, mallory] = [
      await makeIdentity(),
      await makeIdentity(),
      await makeIdentity(),
    ];
    const service = await makeService([superPeer.id]);
    const honest = await run({
      ...{ service, superPeer },
      seenByVm: { self: alice.id, superPeer: superPeer.id },
      seenBySuperPeer: alice.id,
    });
    assert.equal(honest.outcome, 'admitted');
    const relayed = await run({
      ...{ service, superPeer },
      seenByVm: { self: alice.id, superPeer: mallory.id },
      seenBySuperPeer: mallory.id,
    });
    // Not 'wrong secret': SRP's own proof passed, and only the binding refused.
    assert.deepEqual(
      { outcome: relayed.outcome, cause: 'cause' in relayed && relayed.cause },
      { outcome: 'refused', cause: 'wrong confirmation' },
    );
    // Alice dialled the real super-peer, but Mallory's node answered to the super-peer.
    const misbound = await run({
      ...{ service, superPeer },
      seenByVm: { self: alice.id, superPeer: superPeer.id },
      seenBySuperPeer: mallory.id,
    });
    assert.equal(misbound.outcome, 'refused');
  });
});
