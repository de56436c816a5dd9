import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { untilAnswered } from '../../examples/demo/ping.ts';
import { buildTopology, type DemoHost, type Topology } from '../../examples/demo/topology.ts';
import type { ExecResult } from '../lab/exec.ts';
import type { TestProcess } from '../lab/process.ts';

// The life of members in the demo's two clouds, whose credentials last some seconds only: renewed,
// admitted by ticket, thrown out.

const ICVPN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const LIFETIME_SECONDS = 24;

describe('life of a member', function () {
  this.timeout(300_000);
  let owned: AsyncDisposableStack;
  let dir: string;
  let net: Topology;
  let second: TestProcess;
  const file = (name: string): string => join(dir, name);
  const icvpn = (at: DemoHost, ...args: string[]): Promise<ExecResult> =>
    at.ns.exec(process.execPath, [ICVPN, ...args], { timeoutMs: 60_000 });
  const done = async (at: DemoHost, ...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await icvpn(at, ...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const start = async (at: DemoHost, ...args: string[]): Promise<TestProcess> => {
    const listen = ['--listen', '/ip4/0.0.0.0/tcp/4242', '--json'];
    const daemon = owned.use(at.ns.start(process.execPath, [ICVPN, ...args, ...listen]));
    await daemon.receive(60_000);
    return daemon;
  };
  const up = (at: DemoHost, name: string, bootstrap: string): Promise<TestProcess> => {
    const args = ['--state', file(name), '--bootstrap', file(bootstrap), '--vmid', name];
    return start(at, 'up', '--foreground', ...args);
  };
  const status = async (at: DemoHost, name: string) =>
    JSON.parse(await done(at, 'status', '--state', file(name), '--json'));

  before(async () => {
    owned = new AsyncDisposableStack();
    dir = await mkdtemp(join(tmpdir(), 'icvpn-e2e-'));
    owned.defer(() => rm(dir, { recursive: true }));
    net = await buildTopology(owned);
    const cards: string[] = [];
    for (const [i, sp] of net.superPeers.entries()) {
      const card = file(`sp${i}.card`);
      const at = ['--address', `/ip4/${sp.address}/tcp/4242`];
      await done(sp, 'super-peer', 'card', '--state', file(`sp${i}`), ...at, '--out', card);
      cards.push('--super-peer', card);
    }
    const [sp] = net.superPeers;
    const files = (name: string) => ['--dir', file(name), '--bootstrap', file(`${name}.json`)];
    const create = (name: string) => ['create', '--name', name, ...files(name), ...cards, '--json'];
    await done(sp, 'overlay', ...create('overlay'));
    const lifetime = ['--credential-lifetime', String(LIFETIME_SECONDS)];
    const shop = JSON.parse(await done(sp, 'service', ...create('shop'), ...lifetime));
    for (const [i, each] of net.superPeers.entries()) {
      const state = ['--state', file(`sp${i}`), '--overlay', file('overlay.json')];
      await start(each, 'super-peer', 'run', ...state, '--allow-service', shop.serviceId);
    }
    await done(sp, 'service', 'publish', '--dir', file('shop'));
    const ticket = ['ticket', '--dir', file('shop'), '--bootstrap', file('ticket.json')];
    await done(sp, 'service', ...ticket, '--role', 'db');
  });
  after(() => owned.disposeAsync());

  it('P1 a ticket admits one VM with the roles that the owner gave, and no second', async () => {
    const [vm1, vm2] = net.vms;
    await up(vm1, 'vm1', 'ticket.json');
    const { members } = await status(vm1, 'vm1');
    assert.deepEqual(members[0].roles, ['db']);
    const args = ['--state', file('again'), '--bootstrap', file('ticket.json')];
    const { code, stderr } = await icvpn(vm2, 'up', '--foreground', ...args);
    assert.equal(code, 1);
    assert.match(stderr, /the ticket was used by another VM/);
  });

  it('renews without SRP, and its packets go on through the end of the first credential', async () => {
    const [vm1, vm2] = net.vms;
    const daemon = await up(vm2, 'vm2', 'shop.json');
    second = daemon;
    const { ipv4 } = await status(vm1, 'vm1');
    await untilAnswered(vm2.ns, ipv4, AbortSignal.timeout(30_000));
    await daemon.said(' renewed by=', 60_000);
    const count = Math.ceil((LIFETIME_SECONDS + 10) / 0.2);
    const pings = ['-n', '-q', '-i', '0.2', '-c', String(count), ipv4];
    const { stdout } = await vm2.ns.exec('ping', pings, { timeoutMs: 120_000 });
    assert.match(stdout, new RegExp(`${count} packets transmitted, ${count} received`));
    assert.doesNotMatch(daemon.stderr.split(' renewed by=')[1] ?? '', /was-admitted/);
  });

  it('moves into a new epoch without SRP and without a packet lost', async () => {
    const [vm1, vm2] = net.vms;
    const { ipv4 } = await status(vm1, 'vm1');
    const pings = ['-n', '-q', '-i', '0.1', '-c', '100', ipv4];
    const pinging = vm2.ns.exec('ping', pings, { timeoutMs: 60_000 });
    await done(net.superPeers[0], 'service', 'update', '--dir', file('shop'), '--new-epoch');
    await done(net.superPeers[0], 'service', 'publish', '--dir', file('shop'));
    for (const [at, name] of [
      [vm1, 'vm1'],
      [vm2, 'vm2'],
    ] as const) {
      await until(async () => (await status(at, name)).epoch === 2);
      await until(async () => (await status(at, name)).members.length === 2);
    }
    assert.match((await pinging).stdout, /100 packets transmitted, 100 received/);
  });

  it('P11 a member that is thrown out loses its SAs and is not let in again', async () => {
    const [vm1, vm2, vm3] = net.vms;
    await up(vm3, 'vm3', 'shop.json');
    const { ipv4: first } = await status(vm1, 'vm1');
    const { ipv4: second } = await status(vm2, 'vm2');
    await untilAnswered(vm3.ns, first, AbortSignal.timeout(30_000));
    const { peerId, ipv4 } = await status(vm3, 'vm3');
    const bystanders = ['-n', '-q', '-i', '0.1', '-c', '100', second];
    const undisturbed = vm1.ns.exec('ping', bystanders, { timeoutMs: 60_000 });
    await done(net.superPeers[0], 'revoke', peerId, '--dir', file('shop'));
    await untilSas(vm1, vm3.address, 0);
    await until(async () => {
      const { members } = await status(vm1, 'vm1');
      return !members.some((each: { peerId: string }) => each.peerId === peerId);
    });
    const { code } = await vm1.ns.exec('ping', ['-n', '-c', '2', '-W', '1', ipv4]);
    assert.notEqual(code, 0);
    assert.match((await undisturbed).stdout, /100 packets transmitted, 100 received/);
    await done(vm3, 'down', '--state', file('vm3'));
    await rm(file('vm3/cache/standing.entry'), { force: true });
    const args = ['--state', file('vm3'), '--vmid', 'vm3'];
    const again = await icvpn(vm3, 'up', '--foreground', ...args);
    assert.equal(again.code, 1, again.stdout);
  });

  it('P11 a super-peer throws out whom it admitted, and nobody else', async () => {
    const [vm1, vm2] = net.vms;
    const { peerId, admittedBy } = await status(vm2, 'vm2');
    const [sp1, sp2] = net.superPeers;
    const here = JSON.parse(await done(sp1, 'status', '--state', file('sp0'), '--json')).peerId;
    const [own, other] = here === admittedBy ? ['sp0', 'sp1'] : ['sp1', 'sp0'];
    const refused = await icvpn(sp2, 'revoke', peerId, '--state', file(other));
    assert.match(refused.stderr, /is not a member that this super-peer admitted/);
    await done(sp1, 'revoke', peerId, '--state', file(own));
    await untilSas(vm1, vm2.address, 0);
    await until(async () => (await status(vm1, 'vm1')).members.length === 1);
    // No other super-peer takes it back: its time to renew comes and goes.
    const there = JSON.parse(await done(sp2, 'status', '--state', file('sp1'), '--json')).peerId;
    for (const each of [here, there]) await second.said(`renewal-failed superPeer=${each}`, 40_000);
    assert.equal((await status(vm1, 'vm1')).members.length, 1);
  });

  it('P23 the audit log has it all, holds together, and has no secret', async () => {
    const [sp1, sp2] = net.superPeers;
    const logs = await Promise.all([
      done(sp1, 'audit', '--state', file('sp0'), '--json'),
      done(sp2, 'audit', '--state', file('sp1'), '--json'),
    ]);
    const events = logs
      .join('')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    for (const [event, vmid] of [
      ['admitted', 'vm1'],
      ['admitted', 'vm2'],
      ['renewed', 'vm2'],
    ]) {
      assert.ok(
        events.some((each) => each.event === event && each.vmid === vmid),
        `${event}`,
      );
    }
    assert.ok(events.some((each) => each.event === 'refused'));
    const causes = events.filter((each) => each.event === 'revoked').map((each) => each.cause);
    assert.ok(causes.includes('by the owner'));
    assert.ok(causes.some((cause) => /^by 12D3/.test(cause)));
    const only = await done(sp1, 'audit', '--state', file('sp0'), '--outcome', 'refused');
    assert.match(only, /refused .*\n.*records; the chain of the log holds\n$/s);
    assert.doesNotMatch(only, / admitted /);
    for (const name of ['shop.json', 'ticket.json']) {
      const { secret } = JSON.parse(await readFile(file(name), 'utf8'));
      assert.ok(!logs.join('').includes(secret));
    }
  });

  async function until(holds: () => Promise<boolean>): Promise<void> {
    const limit = AbortSignal.timeout(30_000);
    while (!(await holds())) limit.throwIfAborted();
  }

  const untilSas = (at: DemoHost, other: string, wanted: number): Promise<void> =>
    until(async () => {
      const all = await at.ns.ip('xfrm', 'state', 'list', 'nokeys');
      return all.split(other).length - 1 === wanted;
    });
});
