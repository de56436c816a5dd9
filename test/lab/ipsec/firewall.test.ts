import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { type FirewallInput, ruleSet } from '../../../src/ipsec/firewall/rules.ts';
import type { Grant } from '../../../src/policy/grant.ts';
import { createNetns, type Netns } from '../netns.ts';
import type { TestProcess } from '../process.ts';
import { WITHOUT_GUARD } from './inside.ts';
import { A, B, establish, PREFIXES, twoPlanes, UNDERLAYS, underlay } from './planes.ts';
import { ask, askInVain, PROBE } from './probe.ts';

const CHILD = new URL('firewall-child.ts', import.meta.url);

const hosts = ({ virtualAddresses: { ipv4, ipv6 } }: typeof A) => [`${ipv4}/32`, `${ipv6}/128`];
const tcp = (port: number) => ({ protocol: 'tcp', first: port, last: port }) as const;

const INPUT: FirewallInput = {
  interfaceName: 'icvpn0',
  ifId: 77,
  local: hosts(B),
  subnets: [],
  site: [],
  subnetInterfaces: [],
  remotes: Object.values(PREFIXES),
  grants: [{ sources: hosts(A), destinations: hosts(B), ports: [tcp(80)] }],
};

async function told(firewall: TestProcess, value: unknown): Promise<string> {
  firewall.send(value);
  return firewall.line();
}

const tables = (ns: Netns): Promise<string> => ns.run('nft', ['list', 'tables']);

describe('firewall', () => {
  it('takes what the policy grants, and what answers; a grant that is taken back ends what was begun by it', async () => {
    await using lab = await underlay();
    const { a, b } = lab;
    await using firewall = b.node(CHILD);
    assert.equal(await told(firewall, INPUT), 'open');
    await using planes = await twoPlanes(lab);
    await establish(planes.planeA, planes.planeB);
    for (const [to, from] of [
      [B.virtualAddresses.ipv4, A.virtualAddresses.ipv4],
      [B.virtualAddresses.ipv6, A.virtualAddresses.ipv6],
    ] as const) {
      await using there = b.node(PROBE, ['listen', to, '80', '81']);
      await using here = a.node(PROBE, ['listen', from, '443']);
      for (const each of [there, here]) assert.equal(await each.line(), 'ready');
      await using open = a.node(PROBE, ['ask', to, '80']);
      open.send(30_000);
      assert.equal(await open.line(), from);
      assert.equal(await askInVain(a, to, 81), 'silence');
      assert.equal(await ask(b, from, 443), to, 'what b begins is answered');
      assert.equal(await told(firewall, { grants: [] }), 'applied');
      open.send(1_000);
      assert.equal(await open.line(), 'silence');
      assert.equal(await told(firewall, { grants: INPUT.grants }), 'applied');
      assert.equal(await ask(a, to, 80), from);
    }
  });

  it('P17 lets nobody reach a virtual address but through an SA', async () => {
    await using lab = await underlay();
    const { a, b } = lab;
    await using firewall = b.node(CHILD);
    assert.equal(await told(firewall, INPUT), 'open');
    await using planes = await twoPlanes(lab, UNDERLAYS.IPv4, undefined, WITHOUT_GUARD);
    await establish(planes.planeA, planes.planeB);
    const { ipv4 } = B.virtualAddresses;
    await using there = b.node(PROBE, ['listen', ipv4, '80']);
    assert.equal(await there.line(), 'ready');
    // a, by itself, goes round the tunnel.
    await planes.planeA.close();
    await a.ip('address', 'add', `${A.virtualAddresses.ipv4}/32`, 'dev', 'lo');
    await a.ip('route', 'add', `${ipv4}/32`, 'via', '192.0.2.2', 'src', A.virtualAddresses.ipv4);
    await b.ip('route', 'add', `${A.virtualAddresses.ipv4}/32`, 'via', '192.0.2.1');
    await b.ip('rule', 'add', 'pref', '10', 'lookup', 'main');
    assert.equal(await askInVain(a, ipv4, 80), 'silence');
    await b.run('nft', ['delete', 'table', 'inet', 'icvpn_0000004d']);
    assert.notEqual(await ask(a, ipv4, 80), 'silence', 'it was the firewall');
  });

  it('P19 replaces what a killed run left, and leaves tables of others alone', async () => {
    await using ns = await createNetns('a');
    await ns.run('nft', ['add', 'table', 'inet', 'icvpn_0000004e']);
    await ns.run('nft', ['add', 'table', 'inet', 'filter']);
    const others = await tables(ns);
    {
      await using killed = ns.node(CHILD);
      assert.equal(await told(killed, INPUT), 'open');
    }
    assert.match(await tables(ns), /icvpn_0000004d/, 'it outlives the process: fail closed');
    await using next = ns.node(CHILD);
    assert.equal(await told(next, { ...INPUT, grants: [] }), 'open');
    const rules = await ns.run('nft', ['list', 'table', 'inet', 'icvpn_0000004d']);
    assert.doesNotMatch(rules, /tcp dport/);
    assert.equal(await told(next, { grants: 'all' }), 'applied');
    assert.equal(await tables(ns), others, 'nothing to enforce, no table');
    assert.equal(await told(next, { grants: [] }), 'applied');
    assert.match(await tables(ns), /icvpn_0000004d/);
    assert.equal(await told(next, null), 'closed');
    assert.equal(await tables(ns), others);
  });

  it('P17 hears when somebody else changes its rules, and of nothing else', async () => {
    await using ns = await createNetns('a');
    await using firewall = ns.node(CHILD);
    const rules = async () => (await ns.run('nft', ['-s', 'list', 'ruleset'])).replace(/\s+/g, ' ');
    assert.equal(await told(firewall, INPUT), 'open');
    const intended = await rules();
    await ns.run('nft', ['add', 'table', 'inet', 'other']);
    await ns.run('nft', ['delete', 'table', 'inet', 'other']);
    assert.equal(await told(firewall, {}), 'applied');
    const table = ['inet', 'icvpn_0000004d'];
    for (const change of [
      ['flush', 'ruleset'],
      ['add', 'rule', ...table, 'granted', 'accept'],
      ['delete', 'table', ...table],
    ]) {
      await ns.run('nft', change);
      assert.equal(await firewall.line(), 'disturbed', change.join(' '));
      assert.equal(await told(firewall, {}), 'applied');
      assert.equal(await rules(), intended);
    }
    assert.equal(await told(firewall, null), 'closed');
  });

  it('says that nft is missing only where it is needed', async () => {
    await using ns = await createNetns('a');
    const without = 'mount -t tmpfs none /usr/sbin && exec "$@"';
    const child = [process.execPath, fileURLToPath(CHILD)];
    const start = () => ns.start('unshare', ['--mount', 'sh', '-c', without, 'sh', ...child]);
    await using needed = start();
    assert.equal(await told(needed, INPUT), 'ERR_NFT_MISSING');
    await using idle = start();
    assert.equal(await told(idle, { ...INPUT, grants: 'all' }), 'open');
    assert.equal(await told(idle, { grants: [] }), 'ERR_NFT_MISSING');
  });

  it('writes nothing that nft does not take', async () => {
    await using ns = await createNetns('a');
    const number = fc.integer({ min: 1, max: 0xffff });
    const range = fc.tuple(number, number).map(([x, y]) => ({
      first: Math.min(x, y),
      last: Math.max(x, y),
    }));
    const ports = fc.oneof(
      fc.constantFrom<Grant['ports'][number]>({ protocol: 'any' }, { protocol: 'icmp' }),
      fc
        .tuple(fc.constantFrom('tcp', 'udp'), range)
        .map(([protocol, ends]) => ({ protocol, ...ends })),
    );
    const cidr = fc.constantFrom(
      '0.0.0.0/0',
      '10.0.0.0/8',
      '10.1.0.0/16',
      '10.1.2.3/32',
      '::/0',
      'fd00::/8',
      'fd00:1::/64',
      'fd00:1::1/128',
    );
    const cidrs = fc.array(cidr, { maxLength: 5 });
    const grant = fc.record({
      sources: cidrs,
      destinations: cidrs,
      ports: fc.array(ports, { maxLength: 6 }),
    });
    const input = fc.record({
      interfaceName: fc.constant('icvpn0'),
      ifId: fc.integer({ min: 1, max: 0xffff_ffff }),
      local: cidrs,
      subnets: cidrs,
      site: cidrs,
      subnetInterfaces: fc.constantFrom(['lan1'], ['lan1', 'eth0.7']),
      remotes: cidrs,
      grants: fc.oneof(fc.constant('all' as const), fc.array(grant, { maxLength: 5 })),
    });
    // Many at once, each with a table of its own.
    const check = async (inputs: FirewallInput[]) => {
      const rules = inputs.map((each) => ruleSet(each, false)).join('');
      await ns.run('sh', ['-c', 'printf %s "$1" | nft --check --file -', 'sh', rules]);
    };
    const distinct = fc.uniqueArray(input, {
      selector: ({ ifId }) => ifId,
      minLength: 20,
      maxLength: 20,
    });
    await fc.assert(fc.asyncProperty(distinct, check), { numRuns: 10 });
  });
});
