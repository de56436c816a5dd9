/** What commands ask of a daemon that runs. */
import { controlRequest } from '../daemon/control.ts';
import type { CliContext } from './program.ts';

export interface Question {
  /** Its state directory. */
  readonly state: string;
  readonly command: string;
  readonly argument?: string;
  /** Milliseconds to answer in. */
  readonly timeoutMs: number;
}

/** @throws ControlError, the daemon's own error, or a TimeoutError */
export function askDaemon(
  { state, command, argument, timeoutMs }: Question,
  context: CliContext,
): Promise<unknown> {
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(timeoutMs)]);
  return controlRequest(state, command, {
    signal,
    ...(argument !== undefined && { argument }),
  });
}
