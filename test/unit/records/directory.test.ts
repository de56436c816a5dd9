import assert from 'node:assert/strict';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import fc from 'fast-check';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { DIRECTORY, MAX_KNOWN_MEMBERS, partsOf } from '../../../src/records/directory.ts';
import { open, seal } from '../../../src/records/envelope.ts';

const key = await generateKeyPair('Ed25519');
const id = peerIdFromPrivateKey(key);
/** The longest address, of 248 bytes. */
const LONG = parseTcpMultiaddr(`/dns6/${Array(4).fill('x'.repeat(57)).join('.')}/tcp/65535`);
const head = {
  ...{ serviceId: id, recipient: { peerId: id, nonce: new Uint8Array(32) }, base: 2 ** 52 },
  ...{ feed: new Uint8Array(16), epoch: 0xffff_ffff, sequence: 2 ** 53 - 1 },
};

describe('a directory told in parts', () => {
  it('P27 of 10,000 members with the longest credentials and addresses has only updates that can be sent', async () => {
    const member = { credential: new Uint8Array(4096).fill(1), multiaddrs: Array(8).fill(LONG) };
    const parts = partsOf({
      joined: Array(10_000).fill(member),
      left: Array(10_000).fill(id),
      kept: new Uint8Array(MAX_KNOWN_MEMBERS / 8),
    });
    let [joined, left] = [0, 0];
    for (const [part, each] of parts.entries()) {
      const bytes = await seal(DIRECTORY, { ...head, ...each, part, last: 0 }, key);
      const { value } = await open(DIRECTORY, bytes);
      joined += value.joined.length;
      left += value.left.length;
    }
    assert.deepEqual([joined, left], [10_000, 10_000]);
    assert.ok(parts.length > 1);
  });

  it('P27 has everything once, in order, and one part at least', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 4096 }), { maxLength: 3_000 });
    fc.assert(
      fc.property(sizes, fc.nat(3_000), (lengths, leaving) => {
        const joined = lengths.map((n) => ({ credential: new Uint8Array(n), multiaddrs: [] }));
        const left = Array(leaving).fill(id);
        const kept = Uint8Array.of(7);
        const parts = partsOf({ joined, left, kept });
        assert.deepEqual(
          parts.flatMap((part) => part.joined.map((each) => each.credential.length)),
          lengths,
        );
        assert.equal(parts.flatMap((part) => part.left).length, leaving);
        assert.deepEqual(
          parts.map((part) => part.kept),
          [kept, ...Array(parts.length - 1).fill(undefined)],
        );
      }),
      { numRuns: 20 },
    );
  });
});
