import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { text } from 'node:stream/consumers';

/** What a command printed and how it ended: `code` is 128 + n where signal n ended it. */
export interface ExecResult {
  stdout: string;
  stderr: string;
  code: number;
}

export interface ExecOptions {
  /** Kills the command (SIGKILL) and rejects with an AbortError. */
  signal?: AbortSignal;
  /** Milliseconds after which the command is killed and the call rejects. Default 20,000. */
  timeoutMs?: number;
}

/**
 * Runs a program to its end, without a shell and without input.
 *
 * @throws if the program cannot be started, is aborted or runs out of time; a non-zero exit code
 *   is a result, not an error.
 */
export async function exec(
  file: string,
  args: readonly string[],
  { signal, timeoutMs = 60_000 }: ExecOptions = {},
): Promise<ExecResult> {
  const limit = AbortSignal.timeout(timeoutMs);
  const child = spawn(file, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
    killSignal: 'SIGKILL',
  });
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  const code = child.signalCode ? 128 + constants.signals[child.signalCode] : child.exitCode;
  return { stdout, stderr, code: code ?? 0 };
}

/**
 * Runs a program that has to succeed and returns its standard output.
 *
 * @throws as {@link exec}, and if the exit code is not 0, with what the program said.
 */
export async function run(
  file: string,
  args: readonly string[],
  options?: ExecOptions,
): Promise<string> {
  const result = await exec(file, args, options);
  if (result.code !== 0) {
    const said = (result.stderr || result.stdout).trim();
    throw new Error(`${[file, ...args].join(' ')}: exit code ${result.code}: ${said}`);
  }
  return result.stdout;
}
