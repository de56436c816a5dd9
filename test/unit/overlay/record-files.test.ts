import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { RecordFiles } from '../../../src/overlay/record-files.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import {
  ENDPOINT_RECORD,
  REVOCATION_RECORD,
  recordKey,
} from '../../../src/overlay/stored-kinds.ts';
import { seal } from '../../../src/records/envelope.ts';
import { TOMBSTONE } from '../../../src/records/tombstone.ts';
import { fileSystemError, onFileCalls } from '../files/watched-files.ts';
import { identity, nth } from './harness.ts';

const service = await identity();
const member = await identity();
const key = recordKey(ENDPOINT_RECORD, service.id, member.id);
const NOW = 1_800_000_000;

const version = (sequence: number, notAfter = NOW + 600): Promise<Uint8Array> =>
  seal(
    ENDPOINT_RECORD.record,
    {
      serviceId: service.id,
      peerId: member.id,
      sequence,
      notAfter,
      multiaddrs: [],
      underlay: [],
    },
    member.key,
  );

describe('records on disk', () => {
  let directory: string;
  let now: number;
  beforeEach(async () => {
    now = NOW;
    directory = path.join(await mkdtemp(path.join(tmpdir(), 'icvpn-records-')), 'tier-1');
  });
  afterEach(() => rm(path.dirname(directory), { recursive: true }));

  async function start(): Promise<[RecordStore, RecordFiles]> {
    const store = new RecordStore({ kinds: [ENDPOINT_RECORD], clock: () => now * 1000 });
    return [store, await RecordFiles.open(directory, store)];
  }

  it('P8 after a restart the records are there, and nothing older is taken', async () => {
    const [before, files] = await start();
    for (const sequence of [1, 2, 5]) await before.accept(key, await version(sequence));
    await files.close();
    const [after, again] = await start();
    assert.deepEqual(after.get(key)?.opened.bytes, await version(5));
    await assert.rejects(after.accept(key, await version(4)), { code: 'ERR_RECORD_OLD' });
    await again.close();
    assert.equal((await readdir(directory)).length, 1);
  });

  it('P8 the floor of a record that ended, and a tombstone, survive the restart', async () => {
    const [before, files] = await start();
    await before.accept(key, await version(5));
    await files.close();
    now += 600;
    const [later, second] = await start();
    assert.equal(later.get(key), undefined);
    const older = await version(4, now + 600);
    await assert.rejects(later.accept(key, older), { code: 'ERR_RECORD_OLD' });
    await later.accept(
      key,
      await seal(TOMBSTONE, { serviceId: service.id, key, sequence: 9 }, member.key),
    );
    await second.close();
    const [last, third] = await start();
    const dead = await version(8, now + 600);
    await assert.rejects(last.accept(key, dead), { code: 'ERR_RECORD_OLD' });
    await third.close();
  });

  it('a damaged, foreign or half-written file costs nothing but itself', async () => {
    const [before, files] = await start();
    await before.accept(key, await version(5));
    await files.close();
    const name = nth(await readdir(directory), 0);
    await writeFile(path.join(directory, `${'0'.repeat(64)}.record`), 'damaged');
    await writeFile(path.join(directory, '.icvpn-tmp-0123456789abcdef'), 'half');
    await writeFile(path.join(directory, 'notes.txt'), 'mine');
    const [after, again] = await start();
    assert.equal(after.floor(key)?.sequence, 5);
    await again.close();
    assert.deepEqual(
      (await readdir(directory)).toSorted(),
      [`${'0'.repeat(64)}.record`, ...[name, 'notes.txt'].toSorted()].toSorted(),
    );
  });

  it('is for its owner only', async () => {
    const [store, files] = await start();
    await store.accept(key, await version(1));
    await files.close();
    assert.equal((await stat(directory)).mode & 0o777, 0o700);
    const file = path.join(directory, nth(await readdir(directory), 0));
    assert.equal((await stat(file)).mode & 0o777, 0o600);
  });

  describe('of what the owner says', () => {
    const name = recordKey(REVOCATION_RECORD, service.id, service.id);
    const list = (sequence: number): Promise<Uint8Array> =>
      seal(
        REVOCATION_RECORD.record,
        { serviceId: service.id, issuer: service.id, sequence, revocations: [], tickets: [] },
        service.key,
      );
    let stop: () => void = () => undefined;
    afterEach(() => stop());

    async function startAll(): Promise<[RecordStore, RecordFiles]> {
      const store = new RecordStore({
        kinds: [ENDPOINT_RECORD, REVOCATION_RECORD],
        clock: () => now * 1000,
      });
      return [store, await RecordFiles.open(directory, store)];
    }

    it('P35 is in force, then on the disk, then told on, then acknowledged', async () => {
      const [store, files] = await startAll();
      const steps: string[] = [];
      stop = onFileCalls((call) => steps.push(call));
      store.on('record', () => steps.push('in force'));
      store.on('held', () => steps.push('told on'));
      await store.accept(name, await list(1));
      steps.push('acknowledged');
      const disk = ['create', 'write', 'sync file', 'rename', 'sync directory'];
      assert.deepEqual(steps, ['in force', ...disk, 'told on', 'acknowledged']);
      await files.close();
    });

    it('P35 shares one sync of the directory when much of it comes at once, and what is short-lived has none', async () => {
      const [store, files] = await startAll();
      const others = await Promise.all(Array.from({ length: 20 }, () => identity()));
      const lists = await Promise.all(
        others.map(async ({ id, key: signer }) => ({
          key: recordKey(REVOCATION_RECORD, id, id),
          bytes: await seal(
            REVOCATION_RECORD.record,
            { serviceId: id, issuer: id, sequence: 1, revocations: [], tickets: [] },
            signer,
          ),
        })),
      );
      const steps: string[] = [];
      stop = onFileCalls((call) => steps.push(call));
      await store.accept(key, await version(1));
      await Promise.all(lists.map((each) => store.accept(each.key, each.bytes)));
      const count = (call: string): number => steps.filter((each) => each === call).length;
      assert.equal(count('sync file'), 20);
      assert.ok(count('sync directory') < 20, `${count('sync directory')} syncs`);
      await files.close();
      assert.equal(count('rename'), 21, 'the endpoint is in a file, too');
      assert.equal(count('sync file'), 20, 'which nobody waited for');
    });

    it('P35 counts where the disk is full, is not acknowledged, not told as held, and is once there is room', async () => {
      for (const failing of ['create', 'write', 'sync file', 'rename', 'sync directory']) {
        const [store, files] = await startAll();
        const sequence = (store.floor(name)?.sequence ?? 0) + 1;
        let full = true;
        stop = onFileCalls((call) => {
          if (full && call === failing) throw fileSystemError('ENOSPC');
        });
        const bytes = await list(sequence);
        const refused = { code: 'ERR_RECORD_NOT_STORED', message: /the disk is full/ };
        await assert.rejects(store.accept(name, bytes), refused);
        await assert.rejects(store.accept(name, bytes), refused, 'the same again');
        assert.equal(store.held(name)?.sequence, sequence, 'it is in force');
        assert.equal(store.isStored(name), false);
        full = false;
        await store.accept(name, bytes);
        assert.equal(store.isStored(name), true);
        await files.close();
        stop();
      }
      const [after, files] = await startAll();
      assert.equal(after.held(name)?.sequence, 5);
      assert.equal(after.isStored(name), true);
      await files.close();
    });

    it('P35 is what the last acknowledgement said, whichever version a slow disk was at', async () => {
      const [store, files] = await startAll();
      const versions = await Promise.all([1, 2, 3, 4].map(list));
      await Promise.all(versions.map((bytes) => store.accept(name, bytes)));
      const [after, again] = await startAll();
      assert.equal(after.held(name)?.sequence, 4);
      await again.close();
      await files.close();
    });
  });

  it('says when it cannot write', async () => {
    const [store, files] = await start();
    await rm(directory, { recursive: true });
    await store.accept(key, await version(1));
    await assert.rejects(files.close(), { code: 'ERR_RECORD_FILES' });
  });
});
