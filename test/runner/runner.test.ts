import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

// The lab's runner as those who call it see it. Unlike the tests in test/lab these do not run in
// the lab but start it, and so boot a guest each where this machine's kernel is not enough.

const MAIN = fileURLToPath(new URL('../../lab/main.ts', import.meta.url));

function start(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): ChildProcessByStdio<null, Readable, Readable> {
  const env = { ...process.env, ...environment };
  return spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

async function lab(...args: string[]) {
  const child = start(args);
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { code: child.exitCode, stdout, stderr };
}

/** Processes and job directories of one run: what has its token or its runner's number in it. */
async function traces(token: string, runner: number | undefined): Promise<string[]> {
  const job = new RegExp(`icvpn-lab-\\d+-${runner}-`);
  const files = (await readdir(tmpdir())).filter((name) => job.test(name));
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return [...files, ...commands.filter((line) => line.includes(token) || job.test(line))];
}

describe('lab runner', () => {
  it('keeps stdout and stderr apart and passes the exit code on', async () => {
    const script = 'echo to stdout; echo to stderr >&2; exit 42';
    const { code, stdout, stderr } = await lab('--', 'sh', '-c', script);
    assert.equal(stdout, 'to stdout\n');
    assert.match(stderr, /^icvpn lab: .*; running (on it|in User Mode Linux \d.*)\nto stderr\n$/);
    assert.equal(code, 42);
  });

  it('delivers binary output whole', async () => {
    const script = 'head -c 3000000 /dev/urandom | tee /dev/fd/3 | sha256sum >&2';
    const child = start(['--', 'bash', '-c', `exec 3>&1; ${script}`]);
    const hash = createHash('sha256');
    const [stderr] = await Promise.all([text(child.stderr), pipeline(child.stdout, hash)]);
    assert.ok(stderr.includes(hash.digest('hex')), stderr);
  });

  it('runs the command where it was called, with its environment', async () => {
    const command = ['--', 'sh', '-c', 'echo "$PWD $GREETING $ICVPN_IN_LAB"'];
    const child = start(command, { GREETING: `it's "me"` });
    assert.equal(await text(child.stdout), `${process.cwd()} it's "me" 1\n`);
  });

  it('lets the command write where it was allowed to', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'icvpn runner '));
    try {
      const file = join(directory, 'file');
      const { code } = await lab('--rw', directory, '--', 'cp', '/etc/passwd', file);
      assert.equal(code, 0);
      assert.deepEqual(await readFile(file), await readFile('/etc/passwd'));
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('exits 127 for a command that is not there, and 126 for one that is none', async () => {
    assert.equal((await lab('--', 'no-such-command')).code, 127);
    assert.equal((await lab('--', '/etc/passwd')).code, 126);
  });

  it('ends a command that is out of time, and says so', async () => {
    const { code, stderr } = await lab('--time-limit', '2', '--', 'sleep', '1000');
    assert.equal(code, 124);
    assert.match(stderr, /did not end within 2 s/);
  });

  it('runs two at once', async () => {
    const both = await Promise.all([lab('--', 'echo', 'one'), lab('--', 'echo', 'two')]);
    assert.deepEqual(
      both.map(({ code, stdout }) => [code, stdout]),
      [
        [0, 'one\n'],
        [0, 'two\n'],
      ],
    );
  });

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`leaves neither process nor file at ${signal}`, async () => {
      const token = `1000.${process.pid}`;
      const child = start(['--', 'sh', '-c', `echo up; sleep ${token}`]);
      await once(child.stdout, 'data');
      assert.notDeepEqual(await traces(token, child.pid), []);
      child.kill(signal);
      await once(child, 'close');
      assert.equal(child.exitCode, 128 + constants.signals[signal]);
      assert.deepEqual(await traces(token, child.pid), []);
    });
  }

  it('takes its command along when it is killed itself; the next run removes the rest', async () => {
    const token = `2000.${process.pid}`;
    const child = start(['--', 'sh', '-c', `echo up; exec sleep ${token}`]);
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'close');
    assert.equal((await lab('--', 'true')).code, 0);
    while ((await traces(token, child.pid)).length > 0) await setTimeout(10);
  });

  it('says what is wrong with its options, and exits 2', async () => {
    const { code, stdout, stderr } = await lab('--cpu', '2', '--', 'true');
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /^icvpn lab: Unknown option '--cpu'.*--help\n$/);
  });
});
