import assert from 'node:assert/strict';
import { message, required } from '../../../src/codec/protobuf.ts';
import { peerId, peerIdFromEd25519, peerIdKey } from '../../../src/records/peer-id.ts';
import { identities } from '../overlay/harness.ts';

describe('PeerIDs', () => {
  it('are the ones in the bytes, whichever came before and whatever becomes of the bytes', async () => {
    const codec = message({ id: required(1, peerId()) });
    const ids = (await identities(3)).map(({ id }) => id);
    for (const id of [...ids, ...ids, ...ids.flatMap((each) => [each, each])]) {
      const raw = codec.encode({ id });
      const read = codec.decode(raw).id;
      raw.fill(0);
      assert.equal(read.toString(), id.toString());
      const key = Uint8Array.from(id.toMultihash().digest);
      const made = peerIdFromEd25519(key);
      key.fill(0);
      assert.equal(made?.toString(), id.toString());
    }
  });

  it('have different keys in a map exactly if they differ', async () => {
    const ids = (await identities(16)).map(({ id }) => id);
    const again = ids.map((id) => message({ id: required(1, peerId()) }).encode({ id }));
    const read = again.map((raw) => message({ id: required(1, peerId()) }).decode(raw).id);
    assert.equal(new Set(ids.map(peerIdKey)).size, ids.length);
    assert.deepEqual(read.map(peerIdKey), ids.map(peerIdKey));
  });
});
