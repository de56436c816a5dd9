import assert from 'node:assert/strict';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { parsePrefix, prefixContains } from '../../../src/codec/ip.ts';
import {
  Ipv4Pool,
  Ipv4PoolError,
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

  it('in IPv4 of different super-peers never meet, though all addresses are assigned', () => {
    const seen = new Set<string>();
    const prefix = parsePrefix('100.64.0.0/22');
    for (let slot = 0; slot < 64; slot++) {
      const pool = new Ipv4Pool(prefix, slot);
      for (let i = 0; i < pool.size; i++) {
        const address = pool.assign(service, member, (each) => seen.has(each));
        assert.ok(prefixContains(prefix, address));
        seen.add(address);
      }
      assert.throws(() => pool.assign(service, member, (each) => seen.has(each)), Ipv4PoolError);
    }
    assert.equal(seen.size, 64 * 14);
    assert.ok(!seen.has('100.64.0.0') && !seen.has('100.64.3.255'));
  });

  it('in IPv4 stay the same for a member while nobody else holds them', () => {
    const pool = new Ipv4Pool(parsePrefix('100.64.0.0/16'), 5);
    const first = pool.assign(service, member, () => false);
    assert.equal(
      pool.assign(service, member, () => false),
      first,
    );
    assert.notEqual(
      pool.assign(service, member, (each) => each === first),
      first,
    );
  });

  it('in IPv4 need a prefix with room for every slot', () => {
    assert.throws(() => new Ipv4Pool(parsePrefix('10.0.0.0/25'), 0), Ipv4PoolError);
    assert.throws(() => new Ipv4Pool(parsePrefix('fd00::/16'), 0), Ipv4PoolError);
  });

  it('come with an interface id that is never 0', () => {
    assert.ok(ids.every((id) => interfaceId(id) > 0 && interfaceId(id) <= 0xffff_ffff));
  });
});
