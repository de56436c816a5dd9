/**
 * Each of the owner's acts with a disk that is full, or a process that dies, at the n-th change of a file, for every
 * n: afterwards the directory and the bootstrap data are the old or the new ones together, and a retry succeeds.
 */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readOwner } from '../../../src/owner/directory.ts';
import { readBootstrap } from '../../../src/owner/files.ts';
import { signPolicy } from '../../../src/owner/policy.ts';
import { revokeMember, revokeTickets } from '../../../src/owner/revocation.ts';
import { createService, updateService } from '../../../src/owner/service.ts';
import type { OwnerState } from '../../../src/owner/state.ts';
import { createTicket } from '../../../src/owner/ticket.ts';
import { FailingDisk, type Failure } from '../files/failing-disk.ts';
import { identity } from '../overlay/harness.ts';
import { TestSuperPeer } from './world.ts';

const signal = new AbortController().signal;
const member = (await identity()).id;
const document = new TextEncoder().encode('{"version":1}');
const ids = [new Uint8Array(16).fill(7)];

/** Where an act works: the owner's directory, and one for bootstrap data. */
interface Place {
  readonly dir: string;
  readonly outside: string;
}

const ACTS: Readonly<Record<string, (place: Place) => Promise<unknown>>> = {
  revoke: ({ dir }) => revokeMember({ dir, member, newEpoch: false }),
  'revoke-ticket': ({ dir }) => revokeTickets({ dir, ids }),
  'policy publish': ({ dir }) => signPolicy({ dir, document }),
  'service update --new-secret': ({ dir, outside }) =>
    updateService({ dir, newSecret: true, bootstrapFile: join(outside, 'shop.json'), signal }),
  'service ticket': ({ dir, outside }) =>
    createTicket({ dir, validFor: 60, roles: [], bootstrapFile: join(outside, 'ticket.json') }),
};

/** Of a state, what an act changes. */
const marks = ({ secret, descriptor, policy, revocations, tickets }: OwnerState): unknown[] => [
  ...[secret, tickets.length],
  ...[descriptor, policy, revocations].map((each) => each?.value.sequence),
];

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

describe("the owner's acts", () => {
  let root: string;
  let template: Place;
  let place: Place;
  let create: (where: Place) => Promise<unknown>;
  let untouched: unknown[];

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'icvpn-acts-'));
    await using superPeer = await TestSuperPeer.make();
    const superPeers = [await superPeer.card()];
    // An overlay: it has no attribute authority, which takes time to make and no file.
    create = ({ dir, outside }) =>
      createService({
        ...{ dir, name: 'shop', superPeers, credentialLifetime: 60, overlay: true, signal },
        ipv4Prefix: { network: '100.64.0.0', length: 16 },
        bootstrapFile: join(outside, 'shop.json'),
      });
    template = { dir: join(root, 'template'), outside: join(root, 'template-outside') };
    await mkdir(template.outside);
    await create(template);
    untouched = marks(await readOwner(template.dir));
  });
  after(() => rm(root, { recursive: true }));

  async function fresh(): Promise<void> {
    place = { dir: join(root, 'shop'), outside: join(root, 'outside') };
    for (const each of ['dir', 'outside'] as const) {
      await rm(place[each], { recursive: true, force: true });
      await cp(template[each], place[each], { recursive: true });
    }
  }

  /** @returns whether the act went well with a disk that fails after so many changes */
  async function attempt(
    run: (where: Place) => Promise<unknown>,
    how: Failure,
    after: number,
  ): Promise<boolean> {
    using _ = new FailingDisk(how, after);
    return await run(place).then(
      () => true,
      (error: unknown) => {
        assert.ok(error instanceof Error);
        return false;
      },
    );
  }

  /** Bootstrap data that is there admits with what is in force. */
  async function assertTogether(): Promise<void> {
    const { secret, tickets } = await readOwner(place.dir);
    assert.equal((await readBootstrap(join(place.outside, 'shop.json'))).secret, secret);
    // An empty file is the name alone, which a retry takes.
    const ticket = await stat(join(place.outside, 'ticket.json')).catch(() => ({ size: 0 }));
    assert.equal(ticket.size > 0, tickets.length > 0);
  }

  for (const how of ['full', 'dead'] as const satisfies Failure[]) {
    for (const [name, run] of Object.entries(ACTS)) {
      it(`P29 icvpn ${name}: old or new, when the disk is ${how} from the n-th change on`, async () => {
        let done = false;
        for (let after = 0; !done; after++) {
          assert.ok(after < 60, 'never done');
          await fresh();
          done = await attempt(run, how, after);
          const now = marks(await readOwner(place.dir));
          const changed = JSON.stringify(now) !== JSON.stringify(untouched);
          // A command that lives to say that it failed has changed nothing.
          if (how === 'full') assert.equal(changed, done);
          if (done) assert.ok(changed);
          // The next act ends what was interrupted, whatever it is.
          await revokeMember({ dir: place.dir, member, newEpoch: false });
          await assertTogether();
          if (!changed || name !== 'service ticket') await run(place);
          await assertTogether();
        }
      });
    }

    it(`P29 icvpn service create: old or new, when the disk is ${how} from the n-th change on`, async () => {
      let done = false;
      for (let after = 0; !done; after++) {
        assert.ok(after < 60, 'never done');
        place = { dir: join(root, 'made/shop'), outside: join(root, 'made-outside') };
        for (const each of [join(root, 'made'), place.outside]) {
          await rm(each, { recursive: true, force: true });
        }
        await mkdir(place.outside);
        done = await attempt(create, how, after);
        const made = await readOwner(place.dir).then(
          () => true,
          () => false,
        );
        if (how === 'full') {
          assert.equal(made, done);
          assert.equal(await exists(join(root, 'made')), done);
        }
        if (made) await revokeMember({ dir: place.dir, member, newEpoch: false });
        else await create(place);
        await assertTogether();
      }
    });
  }

  it('P29 icvpn service create with a path that cannot be written leaves nothing', async () => {
    const dir = join(root, 'nothing/here');
    await assert.rejects(create({ dir, outside: join(root, 'no/such') }), { code: 'ERR_FILE' });
    assert.equal(await exists(join(root, 'nothing')), false);
    await create({ dir, outside: join(root, 'nothing') });
  });

  it('P29 bootstrap data takes the place of older data of the same service, and of nothing else', async () => {
    await fresh();
    const update = ACTS['service update --new-secret'];
    assert.ok(update);
    await update(place);
    await update(place);
    await assertTogether();
    const file = join(place.outside, 'shop.json');
    for (const foreign of ['notes of somebody', await otherBootstrap(file)]) {
      await writeFile(file, foreign);
      const state = marks(await readOwner(place.dir));
      await assert.rejects(update(place), { code: 'ERR_FILE_EXISTS' });
      assert.deepEqual(marks(await readOwner(place.dir)), state);
      assert.equal(await readFile(file, 'utf8'), foreign);
    }
  });

  /** The same file of another service. */
  async function otherBootstrap(file: string): Promise<string> {
    const json = JSON.parse(await readFile(file, 'utf8'));
    return JSON.stringify({ ...json, serviceId: member.toString() });
  }

  it('P34 a damaged directory is to be restored, and nothing of it removed', async () => {
    await fresh();
    const entry = join(place.dir, 'cache/owner.entry');
    const bytes = await readFile(entry);
    await writeFile(entry, bytes.subarray(0, -1));
    for (const run of [...Object.values(ACTS), ({ dir }: Place) => readOwner(dir)]) {
      await assert.rejects(run(place), (error: Error & { code?: string; remedy?: string }) => {
        assert.equal(error.code, 'ERR_OWNER_DAMAGED');
        assert.match(error.remedy ?? '', /^put the directory back from its backup/);
        return true;
      });
    }
    await assert.rejects(create({ ...place, outside: root }), { code: 'ERR_SERVICE_EXISTS' });
    await writeFile(entry, bytes);
    await readOwner(place.dir);
  });

  it('leaves nothing behind where there is no service', async () => {
    const nowhere = { dir: join(root, 'typo'), outside: root };
    for (const run of Object.values(ACTS)) {
      await assert.rejects(run(nowhere), { code: 'ERR_NO_SERVICE' });
    }
    assert.equal(await exists(nowhere.dir), false);
  });
});
