/**
 * ```
 *   owner, VM ──▶ super-peer on a tmpfs of 4 MiB, which fills up, and has room again
 * ```
 */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAudit } from '../../../src/admission/audit.ts';
import { createTicket, publishAtAll, revokeMember, SuperPeer } from '../../../src/index.ts';
import { REVOCATION_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { admit, arrange, hostFrom, publish } from '../../unit/daemon/world.ts';
import { nth } from '../../unit/overlay/harness.ts';
import { run } from '../exec.ts';

describe('a super-peer on a full disk', () => {
  const owned = new AsyncDisposableStack();
  after(() => owned.disposeAsync());

  it('P35 refuses loudly, is not stopped by it, and loses nothing that it acknowledged', async () => {
    const signal = AbortSignal.timeout(120_000);
    const dir = await mkdtemp(join(tmpdir(), 'icvpn-full-'));
    owned.defer(() => rm(dir, { recursive: true }));
    const stateDir = join(dir, 'sp0');
    await mkdir(stateDir, { mode: 0o700 });
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=0700', 'tmpfs', stateDir]);
    owned.defer(async () => void (await run('umount', [stateDir])));
    const world = await arrange(dir, 1, signal);
    const { bootstrap, descriptor } = world.service;
    const { listen } = nth(world.places, 0);
    const at = nth(bootstrap.superPeers, 0);
    const events: string[] = [];
    const start = (): Promise<SuperPeer> =>
      SuperPeer.start({
        ...{ stateDir, listen: [listen], announce: [], overlay: world.overlay, signal },
        allowedServices: [bootstrap.serviceId],
        log: (event) => void events.push(event),
      });
    const owner = { dir: join(dir, 'shop'), newEpoch: false };
    const superPeer = await start();
    await publish(world, signal);
    const vm = owned.use({
      node: await hostFrom('127.0.0.1'),
      async [Symbol.asyncDispose]() {
        await this.node.close();
      },
    }).node;
    await admit(vm, at, bootstrap);

    const filler = join(stateDir, 'filler');
    await writeFile(filler, new Uint8Array(8 * 1024 * 1024)).catch(() => undefined);
    const revoke = async (): Promise<void> => {
      const { revocations } = await revokeMember({ ...owner, member: vm.peerId });
      await publishAtAll(descriptor.value, REVOCATION_RECORD, revocations.bytes, { signal });
    };
    const members = () => nth(superPeer.status().services, 0).members;
    await assert.rejects(revoke(), { code: 'ERR_RECORD_NOT_STORED', message: /disk is full/ });
    assert.equal(members(), 0, 'who is thrown out is out all the same');
    const ticket = await createTicket({ dir: owner.dir, validFor: 600, roles: [] });
    const other = owned.use({
      node: await hostFrom('127.0.0.1'),
      async [Symbol.asyncDispose]() {
        await this.node.close();
      },
    }).node;
    await assert.rejects(admit(other, at, ticket.bootstrap), { code: 'ERR_ADMISSION_NOT_STORED' });
    assert.ok(events.includes('records-not-stored'));
    assert.ok(events.includes('not-stored'));
    await superPeer[Symbol.asyncDispose]().catch((error: unknown) => events.push(String(error)));

    await rm(filler);
    await using again = await start();
    await revoke();
    await admit(other, at, ticket.bootstrap);
    await assert.rejects(admit(vm, at, bootstrap), { code: 'ERR_REVOKED' });
    assert.equal(nth(again.status().services, 0).members, 1);
    const lines = [];
    for await (const { event } of readAudit(join(stateDir, 'audit.log'))) lines.push(event);
    assert.ok(lines.includes('admitted') && lines.includes('revoked'));
  });
});
