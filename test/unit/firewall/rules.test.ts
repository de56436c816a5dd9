import assert from 'node:assert/strict';
import fc from 'fast-check';
import { blocksOf } from '../../../src/ipsec/firewall/blocks.ts';
import { type FirewallInput, isNeeded, ruleSet } from '../../../src/ipsec/firewall/rules.ts';
import { covers, overlap, parseSubnet } from '../../../src/policy/subnet.ts';

const MEMBER: FirewallInput = {
  interfaceName: 'icvpn0',
  ifId: 77,
  local: ['10.90.0.10/32', 'fd00:1::a/128'],
  subnets: [],
  site: [],
  subnetInterfaces: [],
  remotes: ['10.90.0.0/16', 'fd00:1::/64'],
  grants: [],
};
const GATEWAY: FirewallInput = {
  ...MEMBER,
  subnets: ['10.20.0.0/16', 'fd20::/48'],
  site: ['10.20.0.0/16', 'fd20::/64'],
  subnetInterfaces: ['lan1'],
};
const GRANT = {
  sources: ['10.90.0.11/32', 'fd00:1::b/128'],
  destinations: ['10.90.0.10/32', 'fd00:1::a/128'],
  ports: [{ protocol: 'tcp', first: 80, last: 80 } as const],
};

/** The rules of one chain. */
function chain(text: string, name: string): string[] {
  const [, after] = text.split(`  chain ${name} {\n`);
  assert.ok(after !== undefined, `no chain ${name}`);
  const [body = ''] = after.split('  }\n');
  return body.split('\n').flatMap((line) => (line === '' ? [] : [line.trim()]));
}

describe('firewall rules', () => {
  it('a member without a policy and without subnets needs none', () => {
    assert.equal(isNeeded({ ...MEMBER, grants: 'all' }), false);
    assert.equal(isNeeded(MEMBER), true);
    assert.equal(isNeeded({ ...GATEWAY, grants: 'all' }), true);
    assert.equal(isNeeded({ ...GATEWAY, subnets: [], grants: 'all' }), true, 'all taken back');
  });

  it('denies by default, and replaces its own table alone', () => {
    const text = ruleSet(MEMBER, false);
    assert.deepEqual(chain(text, 'to_me').slice(-2), ['jump granted', 'counter drop']);
    assert.deepEqual(chain(text, 'granted'), []);
    assert.deepEqual(chain(text, 'from_peers'), ['counter drop']);
    assert.deepEqual(chain(text, 'to_peers'), ['counter drop']);
    const tables = [...text.matchAll(/^(?:delete )?table inet (\S+)/gm)].map(([line]) => line);
    assert.deepEqual(tables, [
      'table inet icvpn_0000004d',
      'delete table inet icvpn_0000004d',
      'table inet icvpn_0000004d',
    ]);
  });

  it('grants name their ends in each family, and their ports', () => {
    const ports = [
      { protocol: 'icmp' },
      { protocol: 'tcp', first: 90, last: 100 },
      { protocol: 'tcp', first: 80, last: 80 },
      { protocol: 'tcp', first: 95, last: 110 },
      { protocol: 'tcp', first: 111, last: 120 },
      { protocol: 'udp', first: 53, last: 53 },
    ] as const;
    const text = ruleSet({ ...MEMBER, grants: [{ ...GRANT, ports }] }, false);
    const ends4 = 'ip saddr { 10.90.0.11/32 } ip daddr { 10.90.0.10/32 }';
    const ends6 = 'ip6 saddr { fd00:1::b/128 } ip6 daddr { fd00:1::a/128 }';
    assert.deepEqual(chain(text, 'granted'), [
      `${ends4} meta l4proto icmp counter accept`,
      `${ends4} tcp dport { 80, 90-120 } counter accept`,
      `${ends4} udp dport { 53 } counter accept`,
      `${ends6} meta l4proto ipv6-icmp counter accept`,
      `${ends6} tcp dport { 80, 90-120 } counter accept`,
      `${ends6} udp dport { 53 } counter accept`,
    ]);
  });

  it('a grant without an end of a family lets nothing of it through', () => {
    const half = { ...GRANT, sources: ['10.90.0.11/32'] };
    const rules = chain(ruleSet({ ...MEMBER, grants: [half] }, false), 'granted');
    assert.equal(rules.length, 1);
    assert.match(rules[0] ?? '', /^ip saddr/);
    const empty = chain(
      ruleSet({ ...MEMBER, grants: [{ ...GRANT, ports: [] }] }, false),
      'granted',
    );
    assert.deepEqual(empty, []);
  });

  it('P21 even without a policy a gateway forwards between its tunnel and its own interfaces only', () => {
    const text = ruleSet({ ...GATEWAY, grants: 'all' }, false);
    assert.equal(chain(text, 'from_peers')[0], 'oifname != { "lan1" } counter drop');
    assert.equal(chain(text, 'to_peers')[0], 'iifname != { "lan1" } counter drop');
    assert.equal(chain(text, 'to_peers').at(-1), 'counter drop');
    const one = ruleSet({ ...GATEWAY, subnets: ['10.20.0.0/16'], grants: 'all' }, false);
    for (const [name, end] of [
      ['from_peers', 'daddr'],
      ['to_peers', 'saddr'],
    ] as const) {
      for (const rule of chain(one, name).slice(1, -1)) {
        assert.ok(rule.startsWith(`ip ${end} { 10.20.0.0/16 } `), 'what was taken back stays out');
      }
    }
    const none = ruleSet({ ...GATEWAY, subnets: [], grants: 'all' }, false);
    assert.deepEqual(chain(none, 'from_peers'), ['counter drop']);
    assert.deepEqual(chain(none, 'to_peers'), ['counter drop']);
    assert.throws(() => ruleSet({ ...GATEWAY, subnetInterfaces: [] }, false), {
      code: 'ERR_FIREWALL_INPUT',
    });
  });

  it('hosts behind a gateway are told what the tunnel takes before anything is let through', () => {
    const clamp = 'tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu';
    const forward = chain(ruleSet({ ...GATEWAY, grants: 'all' }, false), 'forward');
    assert.deepEqual(forward.slice(2, 4), [
      `iifname { "icvpn0" } ${clamp}`,
      `oifname { "icvpn0" } ${clamp}`,
    ]);
    assert.doesNotMatch(ruleSet(MEMBER, false), /maxseg/);
  });

  it('P21 into its site a gateway lets from elsewhere only answers and port forwards, and nobody who claims to be a peer', () => {
    const rules = (input: FirewallInput, name: string) => chain(ruleSet(input, false), name);
    for (const subnets of [GATEWAY.subnets, []]) {
      const input: FirewallInput = { ...GATEWAY, subnets, grants: 'all' };
      assert.deepEqual(rules(input, 'forward').slice(-2), [
        'iifname != { "icvpn0", "lan1" } oifname { "lan1" } ip daddr { 10.20.0.0/16 } jump into_site',
        'iifname != { "icvpn0", "lan1" } oifname { "lan1" } ip6 daddr { fd20::/64 } jump into_site',
      ]);
      assert.deepEqual(rules(input, 'into_site'), [
        'ip saddr { 10.90.0.0/16 } counter drop',
        'ip6 saddr { fd00:1::/64 } counter drop',
        'ct state established ct direction reply counter accept',
        'ct state related counter accept',
        'ct status dnat counter accept',
        'counter drop',
      ]);
    }
    assert.doesNotMatch(ruleSet(MEMBER, false), /into_site/);
  });

  it('keeps connections of the service apart where the kernel can', () => {
    const text = ruleSet(GATEWAY, true);
    assert.deepEqual(chain(text, 'zone_in').slice(1), [
      'iifname { "icvpn0" } ct zone set 77',
      'iifname { "lan1" } ip saddr { 10.20.0.0/16 } ip daddr != { 10.90.0.10/32 } ip daddr { 10.90.0.0/16 } ct zone set 77',
      'iifname { "lan1" } ip6 saddr { fd20::/48 } ip6 daddr != { fd00:1::a/128 } ip6 daddr { fd00:1::/64 } ct zone set 77',
    ]);
    assert.doesNotMatch(ruleSet(GATEWAY, false), /zone/);
    // Zone 0 is everybody's.
    assert.match(ruleSet({ ...GATEWAY, ifId: 0x70000 }, true), /ct zone set 1\n/);
  });

  it('takes no text that nft would read as something else', () => {
    const evil = '"; } add table inet x; #';
    assert.throws(() => ruleSet({ ...MEMBER, interfaceName: evil }, false), {
      code: 'ERR_FIREWALL_INPUT',
    });
    assert.throws(() => ruleSet({ ...GATEWAY, subnetInterfaces: [evil] }, false), {
      code: 'ERR_FIREWALL_INPUT',
    });
    for (const change of [{ local: [evil] }, { grants: [{ ...GRANT, sources: [evil] }] }]) {
      assert.throws(() => ruleSet({ ...MEMBER, ...change }, false), { code: 'ERR_ADDRESS' });
    }
  });

  it('blocks of a set cover what they covered, and none lies in another', () => {
    const cidr = fc
      .tuple(fc.nat(0xff), fc.nat(0xff), fc.integer({ min: 8, max: 32 }))
      .map(([a, b, length]) => {
        const number = ((10 << 24) | (a << 16) | (b << 8)) >>> 0;
        const network =
          length === 32 ? number : ((number >>> (32 - length)) << (32 - length)) >>> 0;
        return `${[24, 16, 8, 0].map((shift) => (network >>> shift) & 0xff).join('.')}/${length}`;
      });
    fc.assert(
      fc.property(fc.array(cidr, { maxLength: 30 }), (cidrs) => {
        const given = cidrs.map(parseSubnet);
        const kept = blocksOf([...cidrs, 'fd00::/8'], 'ip').map(parseSubnet);
        assert.ok(given.every((block) => kept.some((each) => covers(each, block))));
        assert.ok(kept.every((each) => given.some(({ text }) => text === each.text)));
        for (const [i, one] of kept.entries()) {
          assert.ok(kept.every((other, j) => i === j || !overlap(one, other)));
        }
      }),
    );
  });
});
