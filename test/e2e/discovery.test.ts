import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DemoHost } from '../../examples/demo/topology.ts';
import type { MemberView } from '../../src/daemon/status.ts';
import { decodeAttributeKey, decrypt, initAbe } from '../../src/keymgmt/abe/index.ts';
import { header, sealedList } from '../../src/keymgmt/discovery/messages.ts';
import { Scene, until } from './scene.ts';

// Member lists in the demo's two clouds: who sees what, and what a list is worth to whom it is not for. Names are
// long enough not to be found by chance in what is encrypted.

const CHILD = fileURLToPath(new URL('list-child.ts', import.meta.url));

interface Captured {
  readonly key: Uint8Array;
  readonly update: Uint8Array;
}

const vmids = ({ members }: MemberView): string[] => members.map(({ vmid }) => vmid);

describe('discovery', function () {
  this.timeout(300_000);
  let scene: Scene;
  const up = (at: DemoHost, name: string) => scene.up(at, name, '--role', `role-of-${name}`);
  const untilSeen = (name: string, holds: (view: MemberView) => boolean) =>
    until(`what ${name} sees`, async () => holds(await scene.members(name)), 60_000);
  /** What the node of a state directory gets that attaches now. */
  async function attach(at: DemoHost, name: string): Promise<Record<string, string>> {
    const limits = { timeoutMs: 60_000 };
    const { stdout, stderr } = await at.ns.exec(
      process.execPath,
      [CHILD, scene.file(name)],
      limits,
    );
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
    scene = await Scene.build();
    await Promise.all(scene.net.vms.map((vm, i) => up(vm, `machine-${i + 1}`)));
  });
  after(() => scene[Symbol.asyncDispose]());
  afterEach(function () {
    if (this.currentTest?.isFailed()) console.error(scene.logs());
  });

  it('members lists the VMs of the service and the public attributes of each', async () => {
    const [vm1] = scene.net.vms;
    await untilSeen('machine-1', ({ members }) => members.length === 3);
    const view = await scene.members('machine-1');
    assert.deepEqual(vmids(view), ['machine-1', 'machine-2', 'machine-3']);
    for (const each of view.members) {
      assert.deepEqual(each.roles, [`role-of-${each.vmid}`]);
      assert.match(each.multiaddrs.join(' '), /\/tcp\/4242/);
    }
    const text = await scene.done(vm1, 'members', '--state', scene.file('machine-1'));
    assert.match(text, /^shop: 3 members in epoch 1, as 12D3/);
    assert.match(text, /machine-2 +role-of-machine-2 +198\.18\./);
    const [sp] = scene.net.superPeers;
    const { code, stderr } = await scene.icvpn(sp, 'members', '--state', scene.file('sp0'));
    assert.equal(code, 1);
    assert.match(stderr, /a super-peer shows no members/);
  });

  it('what the super-peer stores of its members names none of them', async () => {
    const { members: listed } = await scene.members('machine-1');
    const dir = join(scene.file('sp0'), 'records');
    // Others are being written, to be renamed.
    const names = (await readdir(dir)).filter((name) => name.endsWith('.record'));
    const stored = await Promise.all(names.map((name) => readFile(join(dir, name))));
    assert.ok(stored.some((bytes) => bytes.includes('/icvpn-membership/')));
    for (const { vmid, peerId, ipv4 } of listed) {
      for (const text of [vmid, `role-of-${vmid}`, peerId, ipv4]) {
        assert.ok(!stored.some((bytes) => bytes.includes(text)), text);
      }
    }
  });

  it('a list is of no use to another member; who was revoked gets no key and opens no new list', async () => {
    const [, vm2, vm3] = scene.net.vms;
    const { peerId } = await scene.status('machine-3');
    await scene.down(vm2, 'machine-2');
    await scene.down(vm3, 'machine-3');
    const second = await capture(vm2, 'machine-2');
    const third = await capture(vm3, 'machine-3');
    opens(second, second);
    opens(third, third);
    assert.throws(() => opens(third, second), { code: 'ERR_ABE_UNSATISFIED' });
    assert.equal(Buffer.from(second.update).indexOf('machine-1'), -1);

    await scene.owner('revoke', peerId); // and with it a new epoch
    await untilSeen('machine-1', ({ epoch }) => epoch === 2);
    await up(vm2, 'machine-2');
    await untilSeen('machine-2', ({ epoch }) => epoch === 2);
    await untilSeen('machine-1', ({ members }) => members.length === 2);
    assert.deepEqual(vmids(await scene.members('machine-1')), ['machine-1', 'machine-2']);
    await scene.down(vm2, 'machine-2');
    const later = await capture(vm2, 'machine-2');
    opens(later, later);
    assert.throws(() => opens(third, later), { code: 'ERR_ABE_UNSATISFIED' });
    assert.throws(() => opens(second, later), { code: 'ERR_ABE_DECRYPT' });
    assert.deepEqual(await attach(vm3, 'machine-3'), { refused: 'ERR_REFUSED' });
  });
});
