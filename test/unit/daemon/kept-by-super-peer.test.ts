/**
 * ```
 *   owner ── publish, revoke ──▶ super-peer, killed at some write ──▶ its directory, and its next start
 *   VM ───── ticket ───────────▶
 * ```
 */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import {
  type Bootstrap,
  createTicket,
  formatBootstrap,
  publishAtAll,
  revokeMember,
  SuperPeer,
} from '../../../src/index.ts';
import { RecordFiles } from '../../../src/overlay/record-files.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import {
  DESCRIPTOR_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
  recordKey,
} from '../../../src/overlay/stored-kinds.ts';
import { nth } from '../overlay/harness.ts';
import { type Arranged, admit, arrange, hostFrom, type Place, publish } from './world.ts';

describe('what a super-peer keeps', () => {
  let dir: string;
  let world: Arranged;
  let place: Place;
  let shop: Bootstrap;
  let signal: AbortSignal;
  let child: ChildProcess | undefined;
  const owned = new AsyncDisposableStack();

  beforeEach(async () => {
    signal = AbortSignal.timeout(170_000);
    dir = await mkdtemp(join(tmpdir(), 'icvpn-kept-'));
    world = await arrange(dir, 1, signal);
    place = nth(world.places, 0);
    shop = world.service.bootstrap;
  });
  afterEach(async () => {
    await end();
    await rm(dir, { recursive: true });
  });
  after(() => owned.disposeAsync());

  /** Starts the super-peer as a process; with `killAt` it is killed at that write from now on. */
  async function begin(killAt?: number): Promise<void> {
    const file = new URL('./killed-super-peer.ts', import.meta.url);
    const args = [place.stateDir, place.listen, formatBootstrap(world.overlay)];
    child = fork(file, [...args, shop.serviceId.toString()]);
    await once(child, 'message', { signal });
    if (killAt === undefined) return;
    child.send(killAt);
    await once(child, 'message', { signal });
  }

  /** Kills it, if it is not dead yet. */
  async function end(): Promise<void> {
    if (child === undefined) return;
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    child = undefined;
  }

  async function sequenceOnDisk(): Promise<number> {
    const store = new RecordStore({ kinds: [DESCRIPTOR_RECORD, POLICY_RECORD, REVOCATION_RECORD] });
    const files = await RecordFiles.open(join(place.stateDir, 'records'), store);
    await files.close();
    return store.held(recordKey(REVOCATION_RECORD, shop.serviceId, shop.serviceId))?.sequence ?? 0;
  }

  it('P35 a revocation that the owner was told is taken survives SIGKILL at any write, and one after', async () => {
    const owner = join(dir, 'shop');
    await begin();
    await publish(world, signal);
    await end();
    let last = 0;
    const { descriptor } = world.service;
    for (const killAt of [1, 5, undefined]) {
      await begin(killAt);
      const { peerId: member } = nth(world.overlay.superPeers, 0);
      const { revocations } = await revokeMember({ dir: owner, member, newEpoch: false });
      const taken = await publishAtAll(descriptor.value, REVOCATION_RECORD, revocations.bytes, {
        signal,
      }).then(
        (all) => all.every(({ failure }) => failure === null),
        () => false,
      );
      await end();
      const { sequence } = revocations.value;
      const kept = await sequenceOnDisk();
      if (taken) assert.equal(kept, sequence, `killed at ${killAt}`);
      else assert.ok([last, sequence].includes(kept), `killed at ${killAt}`);
      if (killAt === undefined) assert.ok(taken);
      if (killAt === 1) assert.ok(!taken, 'the first write comes before the answer');
      last = kept;
    }
  }).timeout(180_000);

  it('P35 a ticket admits one VM, whenever the super-peer is killed in between', async () => {
    await begin();
    await publish(world, signal);
    await end();
    for (const killAt of [1, 5]) {
      const { bootstrap } = await createTicket({
        dir: join(dir, 'shop'),
        validFor: 600,
        roles: [],
      });
      const at = nth(bootstrap.superPeers, 0);
      const tries = async (): Promise<boolean> => {
        const vm = await hostFrom('127.0.0.1');
        const admitted = await admit(vm, at, bootstrap).then(
          () => true,
          () => false,
        );
        await vm.close();
        return admitted;
      };
      await begin(killAt);
      const first = await tries();
      await end();
      await begin();
      const second = await tries();
      await end();
      assert.ok(!(first && second), `both, killed at ${killAt}`);
      if (killAt === 1) assert.deepEqual([first, second], [false, true]);
    }
  }).timeout(180_000);

  it('P35 a service is served again whichever of the two places has lost its descriptor', async () => {
    const start = (allowed: boolean): Promise<SuperPeer> =>
      SuperPeer.start({
        ...{ stateDir: place.stateDir, listen: [place.listen], announce: [], signal },
        ...{ overlay: world.overlay, allowedServices: allowed ? [shop.serviceId] : [] },
        log: () => undefined,
      });
    const serves = (superPeer: SuperPeer): string[] =>
      superPeer.status().services.map(({ name }) => name);
    {
      await using superPeer = await start(true);
      await publish(world, signal);
      assert.deepEqual(serves(superPeer), ['shop']);
    }
    const database = new DatabaseSync(join(place.stateDir, 'admission.db'));
    database.exec('DELETE FROM service');
    database.close();
    {
      await using superPeer = await start(false);
      assert.deepEqual(serves(superPeer), []);
      await assert.rejects(publish(world, signal), { code: 'ERR_PUBLISH_NOT_ALLOWED' });
    }
    {
      await using superPeer = await start(true);
      assert.deepEqual(serves(superPeer), ['shop']);
    }
    await rm(join(place.stateDir, 'records'), { recursive: true });
    await using superPeer = await start(true);
    assert.deepEqual(serves(superPeer), ['shop']);
    await publish(world, signal);
  });
});
