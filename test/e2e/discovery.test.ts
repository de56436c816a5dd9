import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildTopology, type DemoHost, type Topology } from '../../examples/demo/topology.ts';
import { decodeAttributeKey, decrypt, initAbe } from '../../src/keymgmt/abe/index.ts';
import { header, sealedList } from '../../src/keymgmt/discovery/messages.ts';
import type { ExecResult } from '../lab/exec.ts';
import type { TestProcess } from '../lab/process.ts';

// Member lists in the demo's two clouds: who sees what, and what a list is worth to whom it is not for.

const ICVPN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const CHILD = fileURLToPath(new URL('list-child.ts', import.meta.url));

interface Captured {
  readonly key: Uint8Array;
  readonly update: Uint8Array;
}

describe('discovery', function () {
  this.timeout(300_000);
  let owned: AsyncDisposableStack;
  let dir: string;
  let net: Topology;
  const daemons: TestProcess[] = [];
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
    daemons.push(daemon);
    await daemon.receive(60_000);
    return daemon;
  };
  const up = (at: DemoHost, name: string): Promise<TestProcess> => {
    const args = ['--state', file(name), '--bootstrap', file('shop.json'), '--vmid', name];
    return start(at, 'up', '--foreground', ...args, '--role', `role-of-${name}`);
  };
  const down = (at: DemoHost, name: string) => done(at, 'down', '--state', file(name));
  const members = async (at: DemoHost, name: string) =>
    JSON.parse(await done(at, 'members', '--state', file(name), '--json'));
  const vmids = async (at: DemoHost, name: string): Promise<string[]> =>
    (await members(at, name)).members.map((each: { vmid: string }) => each.vmid);
  async function until(holds: () => Promise<boolean>): Promise<void> {
    const limit = AbortSignal.timeout(60_000);
    while (!(await holds())) assert.ok(!limit.aborted, `never: ${holds}\n${daemonLogs()}`);
  }
  const daemonLogs = (): string => daemons.map(({ stderr }) => stderr.slice(-2_000)).join('\n');
  /** What the node of a state directory gets that attaches now. */
  async function attach(at: DemoHost, name: string): Promise<Record<string, string>> {
    const limits = { timeoutMs: 60_000 };
    const { stdout, stderr } = await at.ns.exec(process.execPath, [CHILD, file(name)], limits);
    assert.notEqual(stdout, '', stderr);
    return JSON.parse(stdout);
  }
  async function capture(at: DemoHost, name: string): Promise<Captured> {
    const { key, update, refused } = await attach(at, name);
    assert.ok(key && update, refused);
    const [a, b] = [Buffer.from(key, 'base64'), Buffer.from(update, 'base64')];
    return { key: Uint8Array.from(a), update: Uint8Array.from(b) };
  }
  const opens = ({ key }: Captured, { update }: Captured): void => {
    const { wrappedKey } = header.decode(sealedList.decode(update).header);
    decrypt(decodeAttributeKey(key), wrappedKey);
  };

  before(async () => {
    await initAbe();
    owned = new AsyncDisposableStack();
    dir = await mkdtemp(join(tmpdir(), 'icvpn-e2e-'));
    owned.defer(() => rm(dir, { recursive: true }));
    net = await buildTopology(owned);
    const [sp] = net.superPeers;
    const at = ['--address', `/ip4/${sp.address}/tcp/4242`];
    const card = ['--super-peer', file('sp.card')];
    await done(sp, 'super-peer', 'card', '--state', file('sp'), ...at, '--out', file('sp.card'));
    const files = (name: string) => ['--dir', file(name), '--bootstrap', file(`${name}.json`)];
    const create = (name: string) => ['create', '--name', name, ...files(name), ...card, '--json'];
    await done(sp, 'overlay', ...create('overlay'));
    const shop = JSON.parse(await done(sp, 'service', ...create('shop')));
    const state = ['--state', file('sp'), '--overlay', file('overlay.json')];
    await start(sp, 'super-peer', 'run', ...state, '--allow-service', shop.serviceId);
    await done(sp, 'service', 'publish', '--dir', file('shop'));
    await Promise.all(net.vms.map((vm, i) => up(vm, `vm${i + 1}`)));
  });
  after(() => owned.disposeAsync());

  it('members lists the VMs of the service and the public attributes of each', async () => {
    const [vm1] = net.vms;
    await until(async () => (await vmids(vm1, 'vm1')).length === 3);
    const view = await members(vm1, 'vm1');
    assert.deepEqual(await vmids(vm1, 'vm1'), ['vm1', 'vm2', 'vm3']);
    for (const each of view.members) {
      assert.deepEqual(each.roles, [`role-of-${each.vmid}`]);
      assert.match(each.multiaddrs.join(' '), new RegExp(`/p2p/${each.peerId}`));
    }
    const text = await done(vm1, 'members', '--state', file('vm1'));
    assert.match(text, /^shop: 3 members in epoch 1, as 12D3/);
    assert.match(text, /vm2 +role-of-vm2 +100\.64\./);
    const { code, stderr } = await icvpn(net.superPeers[0], 'members', '--state', file('sp'));
    assert.equal(code, 1);
    assert.match(stderr, /a super-peer shows no members/);
  });

  it('a list is of no use to another member; who was revoked gets no key and opens no new list', async () => {
    const [vm1, vm2, vm3] = net.vms;
    const [sp] = net.superPeers;
    const { members: all } = await members(vm1, 'vm1');
    const { peerId } = all.find((each: { vmid: string }) => each.vmid === 'vm3');
    await down(vm2, 'vm2');
    await down(vm3, 'vm3');
    const second = await capture(vm2, 'vm2');
    const third = await capture(vm3, 'vm3');
    opens(second, second);
    opens(third, third);
    assert.throws(() => opens(third, second), { code: 'ERR_ABE_UNSATISFIED' });
    assert.equal(Buffer.from(second.update).indexOf('vm1'), -1);

    await done(sp, 'revoke', peerId, '--dir', file('shop'));
    await done(sp, 'service', 'update', '--dir', file('shop'), '--new-epoch');
    await done(sp, 'service', 'publish', '--dir', file('shop'));
    await until(async () => (await members(vm1, 'vm1')).epoch === 2);
    await up(vm2, 'vm2');
    await until(async () => (await members(vm2, 'vm2')).epoch === 2);
    await until(async () => (await vmids(vm1, 'vm1')).length === 2);
    assert.deepEqual(await vmids(vm1, 'vm1'), ['vm1', 'vm2']);
    await down(vm2, 'vm2');
    const later = await capture(vm2, 'vm2');
    opens(later, later);
    assert.throws(() => opens(third, later), { code: 'ERR_ABE_UNSATISFIED' });
    assert.throws(() => opens(second, later), { code: 'ERR_ABE_DECRYPT' });
    assert.deepEqual(await attach(vm3, 'vm3'), { refused: 'ERR_REFUSED' });
  });
});
