import assert from 'node:assert/strict';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { parsePrefix, prefixContains } from '../../../src/codec/ip.ts';
import { checkIpv4Prefix, Ipv4PoolError } from '../../../src/records/address-range.ts';
import {
  Ipv4Pool,
  interfaceId,
  ipv6Address,
  ipv6Prefix,
} from '../../../src/records/virtual-address.ts';

const ids = await Promise.all(
  Array.from({ length: 20 }, async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519'))),
);
const [service, member, other] = ids;
assert.ok(service && member && other);

describe('virtual addresses', () => {
  it('in IPv6 lie in a unique local /64 of the service and differ by member', () => {
    const prefix = ipv6Prefix(service);
    assert.ok(prefixContains(parsePrefix('fd00::/8'), prefix.network));
    const all = ids.map((id) => ipv6Address(service, id));
    assert.ok(all.every((address) => prefixContains(prefix, address)));
    assert.equal(new Set(all).size, ids.length);
    assert.notEqual(ipv6Prefix(other).network, prefix.network);
  });

  it('in IPv4 of different super-peers never meet, though all addresses are given', () => {
    const seen = new Set<string>();
    const prefix = parsePrefix('100.64.0.0/22');
    for (let i = 0; i < 64; i++) {
      const pool = new Ipv4Pool(prefix, { first: 16 * i, count: 16 });
      for (let n = 0; n < pool.size; n++) {
        const address = pool.pick(service, member, (each) => seen.has(each));
        assert.ok(address !== undefined && pool.has(address));
        assert.ok(prefixContains(prefix, address) && !seen.has(address));
        seen.add(address);
      }
      assert.equal(
        pool.pick(service, member, (each) => seen.has(each)),
        undefined,
      );
    }
    assert.equal(seen.size, 1022);
    assert.ok(!seen.has('100.64.0.0') && !seen.has('100.64.3.255'));
  });

  it('in IPv4 stay the same for a member while nobody else holds them', () => {
    const pool = new Ipv4Pool(parsePrefix('100.64.0.0/16'), { first: 80, count: 16 });
    const first = pool.pick(service, member, () => false);
    assert.equal(
      pool.pick(service, member, () => false),
      first,
    );
    assert.notEqual(
      pool.pick(service, member, (each) => each === first),
      first,
    );
  });

  it('in IPv4 need a prefix with room for 64 super-peers', () => {
    checkIpv4Prefix(parsePrefix('10.0.0.0/24'));
    assert.throws(() => checkIpv4Prefix(parsePrefix('10.0.0.0/25')), Ipv4PoolError);
    assert.throws(() => checkIpv4Prefix(parsePrefix('fd00::/16')), Ipv4PoolError);
  });

  it('come with an interface id that is never 0', () => {
    assert.ok(ids.every((id) => interfaceId(id) > 0 && interfaceId(id) <= 0xffff_ffff));
  });
});
