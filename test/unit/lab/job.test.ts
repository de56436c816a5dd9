import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import fc from 'fast-check';
import { commandScript, createJob, type JobContent, sweepJobs } from '../../../lab/job.ts';

const CONTENT: JobContent = {
  command: ['true'],
  directory: '/',
  environment: {},
  writable: [],
  cpus: [3],
};

describe('lab job', () => {
  it('hands arguments and environment over to the letter', () => {
    const word = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0'));
    fc.assert(
      fc.property(fc.array(word, { maxLength: 5 }), word, (args, value) => {
        const print = 'printf "%s\\0" "$HANDED_OVER" "$@"';
        const command = ['/bin/sh', '-c', print, 'sh', ...args];
        const script = commandScript({ ...CONTENT, command, environment: { HANDED_OVER: value } });
        assert.deepEqual(runScript(script).split('\0'), [value, ...args, '']);
      }),
      { numRuns: 30 }, // a shell each
    );
  });

  it('tells the command where it is, and leaves out what bash cannot export', () => {
    const environment = { PATH: process.env['PATH'], 'BASH_FUNC_f%%': '() { :; }', OLDPWD: '/x' };
    const command = ['/bin/sh', '-c', 'echo $ICVPN_IN_LAB $PWD; command -v chroot'];
    const script = commandScript({ ...CONTENT, command, environment, directory: '/usr' });
    assert.ok(!script.includes('BASH_FUNC') && !script.includes('OLDPWD'));
    assert.match(runScript(script), /^1 \/usr\n\/.*sbin\/chroot\n$/);
  });

  it('P23 keeps the directory, in which the environment is, to its user, and removes it', async () => {
    let directory: string;
    {
      await using job = await createJob(CONTENT);
      directory = job.directory;
      assert.equal(statSync(directory).mode & 0o777, 0o700);
      assert.ok(existsSync(job.path('init')) && existsSync(job.path('command')));
    }
    assert.equal(existsSync(directory), false);
  });

  it('sweeps what a killed runner left, and counts the CPUs of the living', async () => {
    await using job = await createJob(CONTENT);
    const dead = 2 ** 22 + 1; // above the largest process number that Linux can give
    const name = basename(job.directory).replace(`-${process.pid}-`, `-${dead}-`);
    const leftover = join(dirname(job.directory), name);
    await mkdir(leftover);
    assert.ok((await sweepJobs()).includes(3));
    assert.equal(existsSync(leftover), false);
    assert.equal(existsSync(job.directory), true);
  });
});

function runScript(script: string): string {
  return execFileSync('/bin/bash', ['-c', script], {
    env: {},
    encoding: 'utf8',
    // No pipe as stdin: it makes bash believe that it runs under rshd, and read the user's .bashrc.
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}
