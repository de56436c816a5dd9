import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFile, FileError, replaceFile } from '../../../src/files/atomic.ts';
import { FailingDisk, type Failure } from './failing-disk.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

describe('files that are replaced as a whole', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'icvpn-files-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  for (const how of ['full', 'dead'] as const satisfies Failure[]) {
    it(`P35 are the old or the new one when the disk is ${how} from the n-th change on`, async () => {
      const path = join(dir, 'file');
      let done = false;
      for (let after = 0; !done; after++) {
        await writeFile(path, 'old');
        {
          using _ = new FailingDisk(how, after);
          done = await replaceFile(path, text('new')).then(
            () => true,
            (error: unknown) => {
              assert.ok(error instanceof FileError);
              return false;
            },
          );
        }
        const now = await readFile(path, 'utf8');
        assert.ok(['old', 'new'].includes(now), now);
        if (done) assert.equal(now, 'new');
        assert.ok(after < 20, 'never done');
      }
    });
  }

  it('P35 are on the disk, their directory too, when that is said', async () => {
    using disk = new FailingDisk('full', Number.POSITIVE_INFINITY);
    await replaceFile(join(dir, 'file'), text('new'));
    // Made, written, synced; renamed; the directory synced.
    assert.equal(disk.changes, 5);
  });

  it('leave nothing behind on a full disk, and say what to do', async () => {
    const path = join(dir, 'file');
    for (const after of [0, 1, 2]) {
      using _ = new FailingDisk('full', after);
      await assert.rejects(replaceFile(path, text('new')), { remedy: /make room/ });
      assert.deepEqual(await readdir(dir), []);
    }
  });

  it('are made once only, and for their owner alone', async () => {
    const path = join(dir, 'file');
    assert.equal(await createFile(path, text('first')), true);
    assert.equal(await createFile(path, text('second')), false);
    assert.equal(await readFile(path, 'utf8'), 'first');
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(dir), ['file']);
  });
});
