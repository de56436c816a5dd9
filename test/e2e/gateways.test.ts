import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import type { DemoHost } from '../../examples/demo/topology.ts';
import { ask, askInVain, listen } from '../lab/ipsec/probe.ts';
import { connect, createNetns, type Netns } from '../lab/netns.ts';
import type { TestProcess } from '../lab/process.ts';
import { Scene, until } from './scene.ts';

// vm1 and vm3 are gateways, in different clouds; vm2 is a member like any other. h and x have no icvpn.
//
//   h 10.20.0.5 ── to-h ─ vm1 ══════ ESP ══════ vm3 ─ to-x ── x 10.30.0.7
//     fd20::5              ╚═══ ESP ═══ vm2 ═════╝               fd30::7

const SITE1 = ['10.20.0.0/16', 'fd20::/64'];
const SITE3 = ['10.30.0.0/16', 'fd30::/64'];
const H = { ipv4: '10.20.0.5', ipv6: 'fd20::5' };
const X = { ipv4: '10.30.0.7', ipv6: 'fd30::7' };
const FAMILIES = ['ipv4', 'ipv6'] as const;
const PUBLISHED_LIMIT = 5_000;

const between = (from: string[], to: string[], ...ports: string[]) => ({
  from: from.map((each) => (each.includes('/') ? `subnet:${each}` : each)),
  to: to.map((each) => `subnet:${each}`),
  ports,
});
/** A gateway counts by its PeerID, or by what a ticket of the owner says of it. @param id the PeerID of vm1 */
const policyFor = (id: string) => ({
  rules: [between(SITE1, SITE3, 'tcp/80'), between(['role:app'], SITE3, 'tcp/81')],
  routes: [
    { gateway: `peer:${id}`, subnets: SITE1 },
    { gateway: 'role:gateway', subnets: SITE3 },
  ],
});

describe('gateways of two sites', function () {
  this.timeout(300_000);
  let scene: Scene;
  let vm1: DemoHost;
  let vm2: DemoHost;
  let vm3: DemoHost;
  let h: Netns;
  let x: Netns;
  let policy: ReturnType<typeof policyFor>;
  let ticket: string;
  const owned = new AsyncDisposableStack();
  const daemons: TestProcess[] = [];

  before(async () => {
    scene = owned.use(await Scene.build());
    [vm1, vm2, vm3] = scene.net.vms;
    h = await attach(vm1, 'h', ['10.20.0.1/16', 'fd20::1/64'], ['10.20.0.5/16', 'fd20::5/64']);
    x = await attach(vm3, 'x', ['10.30.0.1/16', 'fd30::1/64'], ['10.30.0.7/16', 'fd30::7/64']);
  });
  after(() => owned.disposeAsync());

  async function attach(vm: DemoHost, label: string, router: string[], host: string[]) {
    const ns = owned.use(await createNetns(label));
    await connect(vm.ns, ns, { addressesA: router, addressesB: host });
    for (const each of router) {
      await ns.ip('route', 'add', 'default', 'via', each.split('/')[0] ?? '');
    }
    return ns;
  }

  const subnets = (...cidrs: string[]) => cidrs.flatMap((each) => ['--subnet', each]);

  /** Starts it where it must not come up. @returns what it says, in one line */
  async function refusal(vm: DemoHost, name: string, ...options: string[]): Promise<string> {
    const own = ['--state', scene.file(name), '--bootstrap', scene.file('shop.json')];
    const listening = ['--listen', '/ip4/0.0.0.0/tcp/4242', '--vmid', name];
    const run = await scene.icvpn(vm, 'up', '--foreground', ...own, ...listening, ...options);
    assert.equal(run.code, 1, run.stdout);
    return run.stderr.trimEnd().split('\n').at(-1) ?? '';
  }

  async function publish(document: object): Promise<void> {
    const file = scene.file('policy.json');
    await writeFile(file, JSON.stringify({ version: 1, ...document }));
    const { sequence } = JSON.parse(await scene.owner('policy', 'publish', file, '--json'));
    const applied = ` policy-applied sequence=${sequence}`;
    await Promise.all(daemons.map((each) => each.said(applied, PUBLISHED_LIMIT)));
  }

  it('say what is missing: forwarding, a network, the word of the owner', async () => {
    const forwarding = await refusal(vm1, 'vm1', ...subnets(...SITE1));
    assert.match(forwarding, /does not forward.*sysctl -w net\.ipv4\.ip_forward=1/);
    for (const { ns } of [vm1, vm3]) {
      await ns.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
    }
    const nowhere = await refusal(vm1, 'vm1', ...subnets('10.99.0.0/16'));
    assert.match(nowhere, /no route leads to 10\.99\.0\.0\/16/);
    const unasked = await refusal(vm1, 'vm1', ...subnets(...SITE1));
    const told =
      /does not let vm1 announce 10\.20\.0\.0\/16, fd20::\/64.*owner must add.*"peer:(\w+)"/;
    const [, id] = told.exec(unasked) ?? [];
    assert.ok(id, unasked);
    policy = policyFor(id);
  });

  it('P33 are none by the word of a VM that has the secret, whatever VMID and role it tells', async () => {
    const routes = [...policy.routes, { gateway: 'vmid:thief', subnets: SITE3 }];
    await publish({ ...policy, routes });
    const refused = await refusal(vm3, 'thief', '--role', 'gateway', ...subnets(...SITE3));
    assert.match(refused, /does not let thief announce 10\.30\.0\.0\/16, fd30::\/64/);
    ticket = scene.file('gateway.json');
    await scene.owner('service', 'ticket', '--bootstrap', ticket, '--role', 'gateway');
  });

  it('carry what the policy names between hosts without icvpn, and to members', async () => {
    await publish(policy);
    daemons.push(await scene.up(vm1, 'vm1', ...subnets(...SITE1)));
    daemons.push(await scene.up(vm2, 'vm2', '--role', 'app'));
    daemons.push(await scene.up(vm3, 'vm3', '--bootstrap', ticket, ...subnets(...SITE3)));
    const { peerId } = await scene.status('vm3');
    const routed = ` peer-subnets peer=${peerId} subnets=${JSON.stringify(SITE3.join())}`;
    for (const each of daemons.slice(0, 2)) await each.said(routed);
    owned.use(await listen(x, 80, 81));
    owned.use(await listen(h, 80));
    for (const family of FAMILIES) {
      const answers = await Promise.all([
        ask(h, X[family], 80),
        ask(vm2.ns, X[family], 81),
        askInVain(h, X[family], 81),
        askInVain(vm2.ns, X[family], 80),
        askInVain(x, H[family], 80),
      ]);
      const { [family]: app } = await scene.status('vm2');
      assert.deepEqual(answers, [`x ${H[family]}`, `x ${app}`, 'silence', 'silence', 'silence']);
    }
    const { members } = await scene.members('vm2');
    const announced = members.map(({ vmid, subnets: behind }) => [vmid, behind]);
    assert.deepEqual(announced, [
      ['vm1', SITE1],
      ['vm2', []],
      ['vm3', SITE3],
    ]);
  });

  it('P17 lose a subnet that the policy takes back: nothing goes there, by any way', async () => {
    const [site1] = policy.routes;
    await publish({ routes: [site1] });
    await until('taken back', async () => {
      const { members } = await scene.status('vm1');
      return members.find(({ vmid }) => vmid === 'vm3')?.subnets.length === 0;
    });
    assert.doesNotMatch(await vm1.ns.ip('xfrm', 'policy'), /10\.30\./);
    const way = await vm1.ns.exec('ip', ['route', 'get', X.ipv4]);
    assert.match(way.stderr, /unreachable|No route to host/);
    assert.match(await ask(h, X.ipv4, 80), /^E(HOST|NET)UNREACH$/);
    await publish(policy);
    await until('given again', async () => {
      const { members } = await scene.status('vm1');
      return members.find(({ vmid }) => vmid === 'vm3')?.subnets.length === 2;
    });
    assert.equal(await ask(h, X.ipv4, 80), `x ${H.ipv4}`);
  });

  it('are followed when one leaves, comes back with less behind it, and with all of it again', async () => {
    const behind = async (): Promise<readonly string[]> => {
      const { members } = await scene.status('vm1');
      return members.find(({ vmid }) => vmid === 'vm3')?.subnets ?? [];
    };
    const expect = async (announced: readonly string[]): Promise<void> => {
      await until(`behind vm3: ${announced}`, async () => `${await behind()}` === `${announced}`);
      const [answer4, answer6] = await Promise.all([ask(h, X.ipv4, 80), ask(h, X.ipv6, 80)]);
      const refused = /^E(HOST|NET)UNREACH$/;
      assert.match(answer4, announced.length > 0 ? new RegExp(`^x ${H.ipv4}$`) : refused);
      assert.match(answer6, announced.length > 1 ? new RegExp(`^x ${H.ipv6}$`) : refused);
    };
    await scene.down(vm3, 'vm3');
    await expect([]);
    const only4 = SITE3.slice(0, 1);
    await scene.up(vm3, 'vm3', '--bootstrap', ticket, ...subnets(...only4));
    await expect(only4);
    await scene.down(vm3, 'vm3');
    daemons[2] = await scene.up(vm3, 'vm3', '--bootstrap', ticket, ...subnets(...SITE3));
    await expect(SITE3);
  });

  it('ask for what the policy takes back and gives again, without a restart', async () => {
    const gateway = daemons[0];
    assert.ok(gateway);
    await publish({ routes: policy.routes.slice(1) });
    // A new credential, which names what the policy allows by now.
    await scene.owner('service', 'update', '--new-epoch');
    await scene.owner('service', 'publish');
    await gateway.said(' subnets-withdrawn ', 60_000);
    await publish(policy);
    await until('given again', async () => {
      const { members } = await scene.status('vm3');
      return members.find(({ vmid }) => vmid === 'vm1')?.subnets.length === 2;
    });
    assert.equal(await ask(h, X.ipv4, 80), `x ${H.ipv4}`);
  });

  it('leave no route, rule or table behind', async () => {
    await scene.down(vm1, 'vm1');
    const left = await Promise.all([
      vm1.ns.ip('rule'),
      vm1.ns.ip('-6', 'rule'),
      vm1.ns.ip('route', 'show', 'table', 'all'),
      vm1.ns.ip('-6', 'route', 'show', 'table', 'all'),
      vm1.ns.run('nft', ['list', 'ruleset']),
    ]);
    assert.doesNotMatch(left.join('\n'), /icvpn|proto 73/);
  });
});
