/**
 * Starting a daemon in the background: `icvpn up` returns when the daemon says that it is up.
 *
 * ```
 * icvpn up ── spawn, own session ──▶ icvpn up --foreground     stderr ─▶ <state>/log
 *    ▲                                      │
 *    ├──── {"progress":…} ◀─────────────────┤   while it waits
 *    └──── {"ready":…} or {"error":…} ◀─────┘   once, over the IPC channel, which then closes
 *
 * A signal to `icvpn up` while it waits ends the daemon as well.
 * ```
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { IcvpnError } from '../errors.ts';

/** What the daemon tells the process that started it: any number of lines of progress, then one end. */
export type StartReport =
  | { readonly ready: unknown }
  /** The daemon's own line, and the code of its error. */
  | { readonly error: string; readonly code: string };

/** Milliseconds that a daemon gets to end when its start is called off. */
const END_LIMIT_MS = 20_000;

export class DaemonStartError extends IcvpnError {}

/** Tells the process that started this one, if it waits for that. */
export function reportStart(report: StartReport): void {
  if (process.send === undefined) return;
  process.send(report);
  process.disconnect();
}

/** Tells that process what the start waits for. */
export function reportProgress(progress: string): void {
  process.send?.({ progress });
}

/**
 * Runs this same command again with `--foreground` in a session of its own.
 *
 * @returns what the daemon reported when it was up
 * @throws DaemonStartError with the daemon's own line when it could not start
 */
export async function startDetached(
  stateDir: string,
  args: readonly string[],
  {
    signal,
    onProgress,
  }: { readonly signal: AbortSignal; readonly onProgress: (line: string) => void },
): Promise<unknown> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const path = join(stateDir, 'log');
  await using log = await open(path, 'a', 0o600);
  const command = [...process.execArgv, process.argv[1] ?? '', ...args, '--foreground'];
  const child = spawn(process.execPath, command, {
    detached: true,
    stdio: ['ignore', 'ignore', log.fd, 'ipc'],
  });
  const onAbort = (): void => void end(child);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const report = await new Promise<unknown>((resolve, reject) => {
    child.on('message', (message) => {
      const progress = progressOf(message);
      if (progress === undefined) resolve(message);
      else onProgress(progress);
    });
    child.once('error', reject);
    child.once('exit', (code, by) => resolve({ error: `the daemon ended (${code ?? by})` }));
  }).finally(() => signal.removeEventListener('abort', onAbort));
  if (signal.aborted) {
    await end(child);
    throw new DaemonStartError('ERR_STOPPED', 'stopped while it started', 'run icvpn up again');
  }
  child.removeAllListeners();
  child.unref();
  if (typeof report === 'object' && report !== null && 'ready' in report) return report.ready;
  const failure = typeof report === 'object' && report !== null ? report : {};
  const line = 'error' in failure ? String(failure.error) : '';
  const code = 'code' in failure ? String(failure.code) : 'ERR_DAEMON_START';
  throw new DaemonStartError(code, line, `see ${path} for what led to it`);
}

function progressOf(message: unknown): string | undefined {
  if (typeof message !== 'object' || message === null || !('progress' in message)) return undefined;
  return String(message.progress);
}

/** Ends a daemon that has not reported yet, and waits until it has gone. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const limit = setTimeout(() => child.kill('SIGKILL'), END_LIMIT_MS);
  await once(child, 'exit').finally(() => clearTimeout(limit));
}
