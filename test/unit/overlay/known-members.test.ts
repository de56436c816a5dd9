import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import type { Member } from '../../../src/overlay/claims.ts';
import { compare, DIGEST_LENGTH, digestsOf, stands } from '../../../src/overlay/known-members.ts';
import { bytesOnly, identities, nth } from './harness.ts';

const ids = await identities(30);

/** A version of a member; other versions have another credential. */
const member = (who: number, version: number): Member => ({
  peerId: nth(ids, who).id,
  vmid: `vm${who}`,
  roles: [],
  subnets: [],
  ipv4: '100.64.0.1',
  ipv6: 'fd00::1',
  multiaddrs: [parseTcpMultiaddr(`/ip4/10.0.0.${who}/tcp/1`)],
  notAfter: 0,
  credential: bytesOnly(nth(ids, who).id, Uint8Array.from([who, version])),
});

describe('what a member knows when it attaches again', () => {
  it('what stands and what is told make up the list, with nothing told twice', () => {
    const list = fc.uniqueArray(fc.tuple(fc.nat(29), fc.nat(1)), { selector: ([who]) => who });
    fc.assert(
      fc.property(list, list, (theirs, ours) => {
        const known = theirs.map(([who, version]) => member(who, version));
        const current = ours.map(([who, version]) => member(who, version));
        const { unknown, kept } = compare(current, digestsOf(known));
        const standing = known.filter((_, i) => stands(kept, i));
        const both = [...standing, ...unknown].map(({ credential }) => credential.bytes.join());
        const wanted = current.map(({ credential }) => credential.bytes.join());
        assert.deepEqual(both.toSorted(), wanted.toSorted());
      }),
    );
  });

  it('other addresses make another version', () => {
    const moved = { ...member(1, 1), multiaddrs: [parseTcpMultiaddr('/ip4/10.9.9.9/tcp/1')] };
    assert.equal(compare([moved], digestsOf([member(1, 1)])).unknown.length, 1);
  });

  it('P24 any bytes are taken for digests that nobody has', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        const { unknown, kept } = compare([member(1, 1)], bytes);
        assert.equal(unknown.length, 1);
        assert.equal(kept.length, Math.ceil(Math.floor(bytes.length / DIGEST_LENGTH) / 8));
        assert.ok(kept.every((each) => each === 0));
        assert.equal(stands(kept, 1_000_000), false);
      }),
    );
  });
});
