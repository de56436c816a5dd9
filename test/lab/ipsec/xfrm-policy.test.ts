import assert from 'node:assert/strict';
import {
  type PolicySpec,
  readStatistics,
  type Template,
  XfrmClient,
} from '../../../src/ipsec/xfrm/index.ts';
import { createNetns, type Netns } from '../netns.ts';
import { inside } from './inside.ts';

// Each policy is added twice: by `ip xfrm policy add` in one namespace, by XfrmClient in another.
// What `ip -d -s xfrm policy` prints must be the same, and what XfrmClient reads back too.

const V4 = { source: '10.1.0.0/16', destination: '10.2.0.0/24' };
const V6 = { source: 'fd00:1::/64', destination: 'fd00:2::5/128' };
const sel4 = 'src 10.1.0.0/16 dst 10.2.0.0/24';
const sel6 = 'src fd00:1::/64 dst fd00:2::5/128';
const tunnel: Template = {
  source: '192.0.2.1',
  destination: '192.0.2.2',
  protocol: 'esp',
  mode: 'tunnel',
  reqid: 42,
};
const tmpl = 'tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 42 mode tunnel';

const CASES: readonly (readonly [what: string, spec: PolicySpec, ip: string])[] = [
  ['a bare policy', { direction: 'in', selector: V4 }, `${sel4} dir in`],
  [
    'a block with a priority',
    { direction: 'out', selector: V6, action: 'block', priority: 0xabcdef },
    `${sel6} dir out action block priority 11259375`,
  ],
  [
    'a tunnel template over IPv4 for IPv6 inside',
    { direction: 'fwd', selector: V6, templates: [tunnel] },
    `${sel6} dir fwd ${tmpl}`,
  ],
  [
    'a tunnel template over IPv6 for IPv4 inside',
    {
      direction: 'out',
      selector: V4,
      templates: [{ ...tunnel, source: '2001:db8::1', destination: '2001:db8::2', spi: 0x1234 }],
    },
    `${sel4} dir out tmpl src 2001:db8::1 dst 2001:db8::2 proto esp spi 0x1234 reqid 42 mode tunnel`,
  ],
  [
    'two transport templates, one optional',
    {
      direction: 'in',
      selector: V4,
      templates: [
        { protocol: 'comp', mode: 'transport', reqid: 1, optional: true },
        { protocol: 'esp', mode: 'transport', reqid: 2 },
      ],
    },
    `${sel4} dir in tmpl proto comp reqid 1 mode transport level use tmpl proto esp reqid 2 mode transport`,
  ],
  [
    'if_id and mark',
    {
      direction: 'out',
      selector: V6,
      ifId: 0xfeedbeef,
      mark: { value: 0x12, mask: 0xff },
      templates: [tunnel],
    },
    `${sel6} dir out mark 0x12 mask 0xff ${tmpl} if_id 0xfeedbeef`.replace(
      / (tmpl.*) (if_id \S+)/,
      ' $2 $1',
    ),
  ],
  [
    'protocol and ports',
    {
      direction: 'out',
      selector: { ...V4, protocol: 6, sourcePort: 1, destinationPort: 443 },
    },
    `${sel4} proto tcp sport 1 dport 443 dir out`,
  ],
  [
    'ICMP type and code',
    {
      direction: 'out',
      selector: { ...V4, protocol: 1, sourcePort: 8, destinationPort: 0 },
    },
    `${sel4} proto icmp type 8 code 0 dir out`,
  ],
  [
    'flags and a lifetime',
    {
      direction: 'out',
      selector: V4,
      flags: ['localok', 'icmp'],
      lifetime: { packets: { soft: 5n, hard: 6n }, seconds: { hard: 60n } },
    },
    `${sel4} dir out flag localok icmp limit packet-soft 5 limit packet-hard 6 limit time-hard 60`,
  ],
  [
    'the sub type',
    { direction: 'out', selector: V4, type: 'sub', templates: [tunnel] },
    `${sel4} dir out ptype sub ${tmpl}`,
  ],
];

async function printed(ns: Netns): Promise<string> {
  return (await ns.ip('-d', '-s', 'xfrm', 'policy')).replace(/add \d{4}.*use -/g, 'add TIME use -');
}

describe('xfrm policies, beside ip xfrm', () => {
  for (const [what, spec, ip] of CASES) {
    it(`adds and reads ${what}`, async () => {
      await using theirs = await createNetns('ip');
      await using ours = await createNetns('us');
      using client = inside(ours, () => new XfrmClient());
      await theirs.ip('xfrm', 'policy', 'add', ...ip.split(' '));
      await client.addPolicy(spec);
      assert.equal(await printed(ours), await printed(theirs));

      const policy = await client.getPolicy(spec);
      for (const [field, value] of Object.entries(spec)) {
        assert.deepEqual(Reflect.get(policy, field), value, field);
      }
      assert.deepEqual(await client.policies(), [policy]);
      const { direction, index, type } = policy;
      const { mark, ifId } = spec;
      const byIndex = await client.getPolicy({ direction, index, type, mark, ifId });
      assert.deepEqual(byIndex, policy);
    });
  }

  it('update, delete, flush and counts do what ip xfrm shows', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    const spec: PolicySpec = { direction: 'out', selector: V4, templates: [tunnel], ifId: 3 };
    await client.addPolicy(spec);
    await assert.rejects(client.addPolicy(spec), { code: 'ERR_XFRM_EXISTS' });
    await client.updatePolicy({ ...spec, templates: [{ ...tunnel, destination: '192.0.2.3' }] });
    assert.match(await ns.ip('xfrm', 'policy'), /dst 192\.0\.2\.3/);
    assert.equal((await client.policies()).length, 1);
    // The same selector under another if_id is another policy.
    await client.addPolicy({ ...spec, ifId: 4 });
    await client.addPolicy({ direction: 'in', selector: V6 });
    const { in: inbound, out, fwd } = await client.policyCounts();
    assert.deepEqual({ inbound, out, fwd }, { inbound: 1, out: 2, fwd: 0 });
    await client.deletePolicy(spec);
    await assert.rejects(client.deletePolicy(spec), { code: 'ERR_XFRM_NOT_FOUND' });
    assert.deepEqual((await client.policies()).map(({ ifId }) => ifId).sort(), [4, undefined]);
    await client.addPolicy({ ...spec, type: 'sub' });
    await client.flushPolicies();
    assert.deepEqual(
      (await client.policies()).map(({ type }) => type),
      ['sub'],
    );
    await client.flushPolicies({ type: 'sub' });
    assert.deepEqual(await client.policies(), []);
    assert.equal(await ns.ip('xfrm', 'policy'), '');
  });

  it('installs and removes 1,000 policies at once, and tells which failed', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    const specs = Array.from({ length: 1000 }, (_, n): PolicySpec => {
      const destination = `10.3.${n >> 8}.${n & 255}/32`;
      return {
        direction: 'out',
        selector: { source: V4.source, destination },
        templates: [tunnel],
      };
    });
    assert.deepEqual(await client.updatePolicies(specs), []);
    assert.equal((await client.policies()).length, 1000);
    const [first, ...rest] = specs;
    assert.ok(first);
    await client.deletePolicy(first);
    assert.deepEqual(
      (await client.deletePolicies(specs)).map(({ index, error }) => [index, error.code]),
      [[0, 'ERR_XFRM_NOT_FOUND']],
    );
    assert.equal(rest.length, 999);
    assert.equal((await client.policyCounts()).out, 0);
  });

  it('sets what happens without a policy', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    assert.deepEqual(await client.getDefaults(), { in: 'accept', fwd: 'accept', out: 'accept' });
    await client.setDefaults({ fwd: 'block' });
    assert.deepEqual(await client.getDefaults(), { in: 'accept', fwd: 'block', out: 'accept' });
    assert.match(await ns.ip('xfrm', 'policy', 'getdefault'), /in:\s*accept[\s\S]*fwd:\s*block/);
  });

  it('sets from which prefixes on policies are hashed', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    await client.setHashThresholds({
      ipv4: { local: 24, remote: 16 },
      ipv6: { local: 64, remote: 48 },
    });
    const { ipv4Threshold, ipv6Threshold } = await client.policyCounts();
    assert.deepEqual(ipv4Threshold, { local: 24, remote: 16 });
    assert.deepEqual(ipv6Threshold, { local: 64, remote: 48 });
    assert.match(
      await ns.ip('-s', '-s', 'xfrm', 'policy', 'count'),
      /24[\s\S]*16[\s\S]*64[\s\S]*48/,
    );
  });

  it('reads the statistics of the kernel', async () => {
    await using ns = await createNetns('us');
    const statistics = await readStatistics();
    const text = await ns.run('cat', ['/proc/net/xfrm_stat']);
    const names = text
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/)[0]);
    assert.deepEqual([...statistics.keys()], names);
    assert.ok(names.includes('XfrmInNoStates'));
  });
});
