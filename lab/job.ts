import { readlinkSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive } from './process.ts';

// A job directory is what the host and one guest share:
//
//   icvpn-lab-<pid namespace>-<runner's pid>-XXXXXX/
//     init      process 1 of the guest        command    what it is to run: a bash script
//     writable  host directories to mount     exit-code  written by the guest at its end
//     console   the guest kernel's log        cpus       host CPUs that the guest is pinned to
//
// The runner removes it at its end. One that was killed by SIGKILL could not: the next run does.

const PREFIX = 'icvpn-lab-';
const INIT = new URL('guest-init.sh', import.meta.url);

export interface Job extends AsyncDisposable {
  readonly directory: string;
  path(file: string): string;
}

export interface JobContent {
  /** Program and arguments. */
  command: readonly string[];
  directory: string;
  environment: NodeJS.ProcessEnv;
  /** Host directories that the guest may write to, absolute. */
  writable: readonly string[];
  /** Numbers of the host CPUs that the guest is pinned to. */
  cpus: readonly number[];
}

export async function createJob(content: JobContent): Promise<Job> {
  const name = `${PREFIX}${pidNamespace()}-${process.pid}-`;
  const directory = await mkdtemp(join(parentDirectory(), name)); // 0700: the environment is in it
  const path = (file: string) => join(directory, file);
  const dispose = () => rm(directory, { recursive: true, force: true });
  try {
    await copyFile(INIT, path('init'));
    await writeFile(path('command'), commandScript(content));
    await writeFile(path('writable'), content.writable.map((line) => `${line}\n`).join(''));
    await writeFile(path('cpus'), content.cpus.join(' '));
  } catch (error) {
    await dispose();
    throw error;
  }
  return { directory, path, [Symbol.asyncDispose]: dispose };
}

/**
 * Removes the job directories of runners that died without doing so.
 *
 * @returns the host CPUs that the guests of living ones are pinned to, one entry per guest CPU
 */
export async function sweepJobs(): Promise<number[]> {
  const taken: number[] = [];
  const ours = `${PREFIX}${pidNamespace()}-`;
  for (const name of await readdir(parentDirectory())) {
    if (!name.startsWith(ours)) continue;
    const directory = join(parentDirectory(), name);
    if (isAlive(Number.parseInt(name.slice(ours.length), 10))) {
      const cpus = await readFile(join(directory, 'cpus'), 'utf8').catch(() => '');
      taken.push(...cpus.split(' ').filter(Boolean).map(Number));
    } else {
      await rm(directory, { recursive: true, force: true }).catch(() => {}); // another user's
    }
  }
  return taken;
}

/** A bash script that sets the environment, changes to the directory and becomes the command. */
export function commandScript({ command, directory, environment }: JobContent): string {
  const lines = ['#!/bin/bash'];
  for (const [name, value] of Object.entries(environment)) {
    // Bash cannot export other names, such as those of exported functions.
    if (value === undefined || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) continue;
    if (!['SHLVL', 'PWD', 'OLDPWD', '_'].includes(name))
      lines.push(`export ${name}=${quote(value)}`);
  }
  lines.push('export ICVPN_IN_LAB=1 PATH="$PATH:/usr/sbin:/sbin"');
  lines.push(`cd ${quote(directory)} || exit 126`);
  lines.push(`exec ${command.map(quote).join(' ')}`);
  return `${lines.join('\n')}\n`;
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The temporary directory, unless its name cannot stand on a kernel's command line. */
function parentDirectory(): string {
  return /^[\w/.-]+$/.test(tmpdir()) ? tmpdir() : '/tmp';
}

/** Tells the runners of containers that share a temporary directory apart, whose pids may agree. */
function pidNamespace(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
}
