import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { RecordFiles } from '../../../src/overlay/record-files.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { ENDPOINT_RECORD, recordKey } from '../../../src/overlay/stored-kinds.ts';
import { seal } from '../../../src/records/envelope.ts';
import { TOMBSTONE } from '../../../src/records/tombstone.ts';
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
    await writeFile(path.join(directory, `${name}.x.new`), 'half');
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

  it('says when it cannot write', async () => {
    const [store, files] = await start();
    await rm(directory, { recursive: true });
    await store.accept(key, await version(1));
    await assert.rejects(files.close(), { code: 'ERR_RECORD_FILES' });
  });
});
