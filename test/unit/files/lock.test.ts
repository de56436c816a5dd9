import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectoryLock } from '../../../src/files/lock.ts';

const MODULE = new URL('../../../src/files/lock.ts', import.meta.url).href;

describe('the lock of a directory', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'icvpn-lock-'));
  });
  afterEach(() => rm(dir, { recursive: true }));
  const take = (purpose: string, waitMs = 50_000): Promise<DirectoryLock> =>
    DirectoryLock.take(dir, { purpose, waitMs });

  it('P29 has one holder at a time, and names it to those that wait in vain', async () => {
    {
      await using _ = await take('the first');
      await assert.rejects(take('the second', 0), {
        code: 'ERR_LOCKED',
        message: new RegExp(`in use by process ${process.pid}, the first, since 20`),
      });
    }
    await using _ = await take('the third', 0);
  });

  it('P29 passes from one to the next, each alone', async () => {
    let [inside, done] = [0, 0];
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        await using _ = await take('one of eight');
        inside++;
        assert.equal(inside, 1);
        await new Promise(setImmediate);
        inside--;
        done++;
      }),
    );
    assert.equal(done, 8);
  });

  it('P29 is free when its holder is killed', async () => {
    const program = `
      const { DirectoryLock } = await import(${JSON.stringify(MODULE)});
      await DirectoryLock.take(process.argv[1], { purpose: 'child', waitMs: 0 });
      process.stdout.write('held');
      setInterval(() => {}, 1e9);
    `;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program, dir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(child.stdout, 'data');
      await assert.rejects(take('another', 0), { message: /, child, since/ });
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await using _ = await take('another', 0);
  });

  it('stops to wait when it is told to', async () => {
    await using _ = await take('the first');
    const signal = AbortSignal.timeout(30);
    const waiting = DirectoryLock.take(dir, { purpose: 'x', waitMs: 50_000, signal });
    await assert.rejects(waiting, { name: /AbortError|TimeoutError/ });
  });
});
