import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { constants } from 'node:os';

/** Whether a process with this number exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/**
 * Starts a program in a process group of its own, so that Ctrl-C reaches only the runner, who then
 * ends the program in order; and so that the program gets `deathSignal` from the kernel should the
 * runner itself be killed.
 */
export function startGroup(
  deathSignal: 'KILL' | 'TERM',
  command: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', deathSignal, '--', ...command], {
    ...options,
    detached: true,
  });
}

/** Sends a signal to every process of the group that `leader` leads; none may be left. */
export function signalGroup(leader: ChildProcess, signal: NodeJS.Signals): void {
  if (leader.pid === undefined) return;
  try {
    process.kill(-leader.pid, signal);
  } catch {} // ESRCH: the whole group has ended
}

/** The exit code by which shells tell how a process ended. */
export function exitCodeOf(child: ChildProcess): number {
  return child.signalCode ? 128 + constants.signals[child.signalCode] : (child.exitCode ?? 0);
}
