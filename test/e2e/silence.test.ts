import assert from 'node:assert/strict';
import { untilAnswered } from '../../examples/demo/ping.ts';
import type { DemoHost } from '../../examples/demo/topology.ts';
import type { TestProcess } from '../lab/process.ts';
import { count, Scene, until } from './scene.ts';

// What status says of members that leave, of machines that die without a word, and of a super-peer
// that does: on a link that goes down no packet ends a connection.

/** Milliseconds after a clean leave, and after a crash, within which status is true. */
const LEAVE_LIMIT = 5_000;
const CRASH_LIMIT = 30_000;

describe('members that go', function () {
  this.timeout(240_000);
  let scene: Scene;
  /** Of vm1. */
  let daemon: TestProcess;
  before(async () => {
    scene = await Scene.build();
  });
  after(() => scene[Symbol.asyncDispose]());

  async function sees(name: string, ...wanted: string[]): Promise<boolean> {
    const { members } = await scene.status(name);
    return members.map(({ vmid }) => vmid).join() === wanted.join();
  }
  async function silence({ ns }: DemoHost): Promise<void> {
    const [, device = ''] =
      /\bdev (to-router-[ab])\b/.exec(await ns.ip('route', 'list', 'default')) ?? [];
    await ns.ip('link', 'set', 'dev', device, 'down');
  }

  it('a member that leaves is gone from every status within 5 s', async () => {
    const [vm1, vm2, vm3] = scene.net.vms;
    daemon = await scene.up(vm1, 'vm1');
    await scene.up(vm2, 'vm2');
    await scene.up(vm3, 'vm3');
    const all = ['vm1', 'vm2', 'vm3'];
    await until('all see all', () => sees('vm1', ...all));
    await until('all see all', () => sees('vm3', ...all));
    await scene.down(vm2, 'vm2');
    const left = performance.now();
    const others = ['vm1', 'vm3'];
    await Promise.all(others.map((at) => until(`${at} without vm2`, () => sees(at, ...others))));
    const took = performance.now() - left;
    assert.ok(took < LEAVE_LIMIT, `${took} ms`);
  });

  it('a member whose machine dies is gone from status within 30 s', async () => {
    const [, , vm3] = scene.net.vms;
    await silence(vm3);
    const died = performance.now();
    await until('vm1 alone', () => sees('vm1', 'vm1'), 2 * CRASH_LIMIT);
    const took = performance.now() - died;
    assert.ok(took < CRASH_LIMIT, `${took} ms`);
  });

  it('a member whose super-peer’s machine dies is attached to another within 30 s, without SRP', async () => {
    const [, vm2] = scene.net.vms;
    await scene.up(vm2, 'vm2');
    await until('vm1 sees vm2', () => sees('vm1', 'vm1', 'vm2'));
    const [sp1, sp2] = scene.net.superPeers;
    const { superPeer } = await scene.status('vm1');
    const first = JSON.parse(
      await scene.done(sp1, 'status', '--state', scene.file('sp0'), '--json'),
    );
    await silence(superPeer === first.peerId ? sp1 : sp2);
    const died = performance.now();
    const moved = async (): Promise<boolean> => {
      const now = (await scene.status('vm1')).superPeer;
      return now !== null && now !== superPeer;
    };
    await until('vm1 at another super-peer', moved, 2 * CRASH_LIMIT);
    const took = performance.now() - died;
    assert.ok(took < CRASH_LIMIT, `${took} ms`);
    assert.ok(await sees('vm1', 'vm1', 'vm2'));
    assert.equal(count(daemon.stderr, ' was-admitted '), 1, 'at its start, and not again');
  });

  it('P12 a member that only super-peers lose sight of keeps its SAs, without a packet lost', async () => {
    const [vm1, vm2] = scene.net.vms;
    const { ipv4 } = await scene.status('vm2');
    await untilAnswered(vm1.ns, ipv4, AbortSignal.timeout(60_000));
    const listed = async (wanted: boolean): Promise<boolean> => {
      const { members } = await scene.status('vm1');
      return members.some((each) => each.vmid === 'vm2' && each.listed === wanted);
    };
    // A firewall forgets all control connections; ESP passes.
    const cut = ['input', 'output'].map(
      (hook) =>
        `add chain inet cut ${hook} { type filter hook ${hook} priority 0; }; ` +
        `add rule inet cut ${hook} tcp dport 4242 drop; add rule inet cut ${hook} tcp sport 4242 drop`,
    );
    const seconds = 40;
    const pings = ['-n', '-q', '-i', '0.2', '-c', String(5 * seconds), ipv4];
    const pinging = vm1.ns.exec('ping', pings, { timeoutMs: 120_000 });
    await vm2.ns.run('nft', [`add table inet cut; ${cut.join('; ')}`]);
    await until('dropped from the list, and kept', () => listed(false), 2 * CRASH_LIMIT);
    assert.match((await pinging).stdout, / 0% packet loss/);
    await vm2.ns.run('nft', ['delete table inet cut']);
    await until('listed again', () => listed(true));
  });
});
