import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const CHILD = fileURLToPath(new URL('./detach-child.ts', import.meta.url));

describe('a start in the background', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'icvpn-detach-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  const begin = (ends: string) => {
    const child = spawn(process.execPath, [CHILD, dir, ends], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return { child, line: async () => (await lines.next()).value };
  };
  const isThere = (pid: number): boolean => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };

  it('P34 says what the daemon waits for, and a signal ends both', async () => {
    const { child, line } = begin('never');
    const exited = once(child, 'exit');
    assert.equal(await line(), 'waiting for nothing');
    child.kill('SIGINT');
    assert.equal(await line(), 'stopped while it started');
    assert.deepEqual(await exited, [1, null]);
    await access(join(dir, 'ended'));
    assert.ok(!isThere(Number(await readFile(join(dir, 'pid'), 'utf8'))));
  });

  it('returns when the daemon is up, which goes on', async () => {
    const { child, line } = begin('ready');
    const exited = once(child, 'exit');
    assert.equal(await line(), 'waiting for nothing');
    assert.equal(await line(), '{"fine":true}');
    assert.deepEqual(await exited, [0, null]);
    const pid = Number(await readFile(join(dir, 'pid'), 'utf8'));
    assert.ok(isThere(pid));
    process.kill(pid, 'SIGKILL');
  });
});
