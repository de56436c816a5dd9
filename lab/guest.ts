import { once } from 'node:events';
import { copyFile, type FileHandle, open, readFile, statfs } from 'node:fs/promises';
import { Readable, type Writable } from 'node:stream';
import { EXIT_TIME_LIMIT, LabError } from './errors.ts';
import { createJob, type Job, sweepJobs } from './job.ts';
import { allowedCpus, pickCpus } from './pinning.ts';
import { signalGroup, startGroup } from './process.ts';

// Boots a User Mode Linux kernel, which is an ordinary program, and runs one command in it:
//
//   runner ── setpriv ── taskset ── kernel ──────────── guest-init.sh ── command
//     │  job directory (hostfs)  ◄── /run/icvpn-lab ──►  │
//     ◄── fd 3 ── /dev/tty1 ◄── cat ◄── stdout ──────────┤
//     ◄── fd 4 ── /dev/tty2 ◄── cat ◄── stderr ──────────┘

export interface GuestOptions {
  /** The kernel's file. */
  kernel: string;
  command: readonly string[];
  directory: string;
  environment: NodeJS.ProcessEnv;
  /** Host directories that the guest may write to, absolute. */
  writable: readonly string[];
  /** As `512M` or `2G`. */
  memory: string;
  cpus: number;
  timeLimitSeconds: number | undefined;
  /** Where to leave a copy of the guest kernel's log. */
  consoleFile: string | undefined;
  /** Further parameters of the kernel, as `NAME` or `NAME=VALUE`. */
  boot: readonly string[];
  stdout: Writable;
  stderr: Writable;
}

/**
 * Runs a command in a guest and returns its exit code. When this returns or throws, nothing of the
 * guest is left.
 *
 * @throws LabError ERR_LAB_TIME_LIMIT, or ERR_LAB_GUEST_DIED with the end of the guest's console
 * @throws the reason of `signal`, once the guest has gone
 */
export async function runInGuest(options: GuestOptions, signal: AbortSignal): Promise<number> {
  const cpus = pickCpus(allowedCpus(), await sweepJobs(), options.cpus);
  await using job = await createJob({ ...options, cpus });
  await using console = await open(job.path('console'), 'w');
  const limit = new AbortController();
  const timer =
    options.timeLimitSeconds === undefined
      ? undefined
      : setTimeout(() => limit.abort(), options.timeLimitSeconds * 1000);
  try {
    await boot(options, job, console, cpus, AbortSignal.any([signal, limit.signal]));
  } finally {
    clearTimeout(timer);
    if (options.consoleFile !== undefined) await copyFile(job.path('console'), options.consoleFile);
  }
  signal.throwIfAborted();
  if (limit.signal.aborted) {
    throw new LabError(
      'ERR_LAB_TIME_LIMIT',
      `the command did not end within ${options.timeLimitSeconds} s`,
      'raise --time-limit',
      EXIT_TIME_LIMIT,
    );
  }
  return await exitCode(job); // before the job directory goes
}

async function boot(
  options: GuestOptions,
  job: Job,
  console: FileHandle,
  cpus: readonly number[],
  signal: AbortSignal,
): Promise<void> {
  const bootParameters = [
    'seccomp=on', // the faster of UML's two ways to catch system calls
    `ncpus=${cpus.length}`,
    `mem=${options.memory}`,
    'rootfstype=hostfs',
    'rootflags=/',
    'ro',
    `init=${job.path('init')}`,
    `icvpn.job=${job.directory}`,
    'quiet',
    'dummy.numdummies=0', // no devices that nobody asked for
    'ifb.numifbs=0',
    'con=null',
    'con0=null,fd:1',
    'con1=null,fd:3',
    'con2=null,fd:4',
    ...options.boot,
  ];
  // HOME: UML makes a directory for its control socket there. TMPDIR: the guest's memory is a file.
  const environment = {
    PATH: process.env['PATH'],
    HOME: job.directory,
    TMPDIR: await memoryDirectory(options.memory, job.directory),
  };
  const command = ['taskset', '-c', cpus.join(','), options.kernel, ...bootParameters];
  const kernel = startGroup('KILL', command, {
    env: environment,
    stdio: ['ignore', console.fd, console.fd, 'pipe', 'pipe'],
  });
  // SIGKILL, since an idle UML takes no notice of SIGTERM.
  const kill = () => signalGroup(kernel, 'SIGKILL');
  signal.addEventListener('abort', kill);
  if (signal.aborted) kill();
  try {
    forward(kernel.stdio[3], options.stdout);
    forward(kernel.stdio[4], options.stderr);
    await once(kernel, 'close');
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
  }
}

function forward(from: unknown, to: Writable): void {
  if (from instanceof Readable) from.pipe(to, { end: false });
}

/**
 * Where the guest's memory goes: into RAM, if there is room (containers often have 64 MiB there)
 * and programs may run from it, since the guest's do.
 */
async function memoryDirectory(memory: string, otherwise: string): Promise<string> {
  const bytes = Number.parseInt(memory, 10) * (memory.endsWith('G') ? 2 ** 30 : 2 ** 20);
  try {
    const { bavail, bsize } = await statfs('/dev/shm');
    const mounts = await readFile('/proc/self/mounts', 'utf8');
    const noexec = /^\S+ \/dev\/shm \S+ \S*\bnoexec\b/m.test(mounts);
    return bavail * bsize >= bytes && !noexec ? '/dev/shm' : otherwise;
  } catch {
    return otherwise;
  }
}

async function exitCode(job: Job): Promise<number> {
  const code = await readFile(job.path('exit-code'), 'utf8').catch(() => '');
  if (code !== '') return Number.parseInt(code, 10);
  const console = await readFile(job.path('console'), 'utf8');
  const end = console.trimEnd().split('\n').slice(-30).join('\n');
  throw new LabError(
    'ERR_LAB_GUEST_DIED',
    `the guest died before its command ended; its console ended:\n${end}\n`,
    'try again, with more --memory if the console speaks of it; --console FILE keeps all of it',
  );
}
