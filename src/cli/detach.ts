/**
 * Starting a daemon in the background: `icvpn up` returns when the daemon says that it is up.
 *
 * ```
 * icvpn up ── spawn, own session ──▶ icvpn up --foreground     stderr ─▶ <state>/log
 *    ▲                                      │
 *    └──── {"ready":…} or {"error":…} ◀─────┘   once, over the IPC channel, which then closes
 * ```
 */
import { spawn } from 'node:child_process';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { IcvpnError } from '../errors.ts';

/** What the daemon tells whoever started it, once. */
export type StartReport = { readonly ready: unknown } | { readonly error: string };

export class DaemonStartError extends IcvpnError {}

/** Tells the process that started this one, if it waits for that. */
export function reportStart(report: StartReport): void {
  if (process.send === undefined) return;
  process.send(report);
  process.disconnect();
}

/**
 * Runs this same command again with `--foreground` in a session of its own.
 *
 * @returns what the daemon reported when it was up
 * @throws DaemonStartError with the daemon's own line when it could not start
 */
export async function startDetached(stateDir: string, args: readonly string[]): Promise<unknown> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const path = join(stateDir, 'log');
  await using log = await open(path, 'a', 0o600);
  const command = [...process.execArgv, process.argv[1] ?? '', ...args, '--foreground'];
  const child = spawn(process.execPath, command, {
    detached: true,
    stdio: ['ignore', 'ignore', log.fd, 'ipc'],
  });
  const report = await new Promise<unknown>((resolve, reject) => {
    child.once('message', resolve);
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      resolve({ error: `the daemon ended (${code ?? signal})` }),
    );
  });
  child.removeAllListeners();
  child.unref();
  if (typeof report === 'object' && report !== null && 'ready' in report) return report.ready;
  const line =
    typeof report === 'object' && report !== null && 'error' in report ? report.error : '';
  throw new DaemonStartError('ERR_DAEMON_START', String(line), `see ${path} for what led to it`);
}
