/** A service of 5,000 members with long credentials at one super-peer: nobody is refused because the list is long. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { publicKeyFromRaw } from '@libp2p/crypto/keys';
import type { Ed25519PeerId } from '@libp2p/interface';
import { peerIdFromPublicKey } from '@libp2p/peer-id';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  identities,
  identity,
  listen,
  MemberNode,
  nth,
  SuperPeer,
  trustIn,
  until,
} from './harness.ts';

const MEMBERS = 5_000;
const LIMIT = 60_000;

/** A member without a key of its own. */
function somebody(): Ed25519PeerId {
  const id = peerIdFromPublicKey(publicKeyFromRaw(randomBytes(32)));
  assert.equal(id.type, 'Ed25519');
  return id.type === 'Ed25519' ? id : somebody();
}

describe('a service of 5,000 members', () => {
  const cleanup = new Cleanup();
  after(() => cleanup.run());

  it('P27 is told to whoever attaches, and to those who come back and know most of it', async () => {
    const [service, overlay, admitter] = [await identity(), await identity(), await identity()];
    const trust = () => trustIn([admitter.id]);
    const host = await listen(admitter.key);
    const superPeer = cleanup.add(
      new SuperPeer(host, admitter.key, overlay.id, trust, service.id, trust),
    );
    await superPeer.start();
    const roles = Array.from({ length: 16 }, (_, i) => `role-${i}`.padEnd(64, '.'));
    const at = [1, 2, 3].map((i) => parseTcpMultiaddr(`/ip6/2001:db8:1:2:3:4:5:${i}/tcp/4242`));
    for (let i = 0; i < MEMBERS; i++) {
      const credential = await credentialFor(service.id, admitter.key, somebody(), { roles });
      superPeer.membership.add(credential, at, 1);
    }
    assert.equal(superPeer.membership.members().length, MEMBERS);

    const signal = AbortSignal.timeout(LIMIT);
    const nodes: MemberNode[] = [];
    for (const { key, id } of await identities(2)) {
      const credential = await credentialFor(service.id, admitter.key, id);
      const where = () => [addresses(host)];
      const node = new MemberNode(await listen(key), key, service.id, credential, trust, where);
      nodes.push(cleanup.add(node));
      await node.start();
      const changes: number[] = [];
      node.directory.on('change', (members) => changes.push(members.length));
      await node.directory.attach({ signal });
      // A list in parts is one change: nobody acts on half of it.
      assert.equal(changes[0], MEMBERS + nodes.length);
    }
    const first = nth(nodes, 0).directory;
    await until(first, 'change', () => first.members().length === MEMBERS + 2, LIMIT);
    const again = until(first, 'attached', () => first.superPeer !== undefined, LIMIT);
    first.reattach();
    await again;
    assert.equal(first.members().length, MEMBERS + 2);
  });
});
