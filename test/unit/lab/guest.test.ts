import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { type GuestOptions, runInGuest } from '../../../lab/guest.ts';
import { kernelVersion } from '../../../lab/kernel/version.ts';
import { isAlive } from '../../../lab/process.ts';

// What the runner does with kernels that are broken: each is a program that fails in its own way.
// What it does with one that works is tested in test/runner.

describe('lab guest', () => {
  let directory: string;
  const { signal } = new AbortController();

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'icvpn-guest-'));
  });
  after(() => rm(directory, { recursive: true }));

  async function brokenKernel(script: string): Promise<GuestOptions> {
    const kernel = join(directory, 'kernel');
    await writeFile(kernel, `#!/bin/sh\n${script}\n`);
    await chmod(kernel, 0o755);
    return {
      kernel,
      command: ['true'],
      directory: '/',
      environment: {},
      writable: [],
      memory: '1M',
      cpus: 1,
      timeLimitSeconds: undefined,
      consoleFile: join(directory, 'console'),
      boot: [],
      stdout: new PassThrough(),
      stderr: new PassThrough(),
    };
  }

  /** Job directories of this process. */
  async function leftovers(): Promise<string[]> {
    const names = await readdir(tmpdir());
    return names.filter((name) => new RegExp(`^icvpn-lab-\\d+-${process.pid}-`).test(name));
  }

  it('shows the end of the console of one that dies, and keeps all of it if asked', async () => {
    const options = await brokenKernel('seq 100; echo Kernel panic >&2; exit 1');
    await assert.rejects(
      runInGuest(options, signal),
      (error: Error & { code?: string; exitCode?: number }) => {
        assert.equal(error.code, 'ERR_LAB_GUEST_DIED');
        assert.equal(error.exitCode, 125);
        assert.match(error.message, /ended:\n72\n(.*\n)*100\nKernel panic\n/);
        return true;
      },
    );
    assert.match(await readFile(join(directory, 'console'), 'utf8'), /^1\n2\n/);
    assert.deepEqual(await leftovers(), []);
  });

  it('ends one that does not come to an end, with the processes that it started', async () => {
    const pids = join(directory, 'pids');
    const options = await brokenKernel(`sleep 1000 & echo $$ $! >${pids}; wait`);
    await assert.rejects(runInGuest({ ...options, timeLimitSeconds: 5 }, signal), {
      code: 'ERR_LAB_TIME_LIMIT',
    });
    const [kernel = 0, child = 0] = (await readFile(pids, 'utf8')).split(' ').map(Number);
    while (isAlive(kernel) || isAlive(child)) await setTimeout(5); // the kernel takes its time
    assert.deepEqual(await leftovers(), []);
  });

  it('gives up when told to', async () => {
    const options = await brokenKernel('sleep 1000');
    await assert.rejects(runInGuest(options, AbortSignal.timeout(20)), { name: 'TimeoutError' });
    await assert.rejects(runInGuest(options, AbortSignal.abort()), { name: 'AbortError' });
    assert.deepEqual(await leftovers(), []);
  });

  it('P22 refuses a kernel that is not there or is another program, and says which', async () => {
    const expected = { code: 'ERR_LAB_NO_KERNEL', remedy: 'correct or unset ICVPN_LAB_KERNEL' };
    for (const file of ['/nonexistent', '/etc/passwd', '/bin/true']) {
      await assert.rejects(kernelVersion(file, '$ICVPN_LAB_KERNEL'), {
        ...expected,
        message: new RegExp(`^${file} \\(\\$ICVPN_LAB_KERNEL\\) is not a User Mode Linux kernel`),
      });
    }
  });
});
