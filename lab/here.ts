import { once } from 'node:events';
import type { LabOptions } from './args.ts';
import { EXIT_TIME_LIMIT, LabError } from './errors.ts';
import { exitCodeOf, signalGroup, startGroup } from './process.ts';

/** Milliseconds between the request to end and the end by force: enough to tear down a demo. */
const GRACE = 15_000;

/**
 * Runs a command on this machine's own kernel. When this returns or throws, no process of the
 * command's group is left; it was asked to end (SIGTERM) before it was forced to.
 *
 * @throws LabError ERR_LAB_TIME_LIMIT
 * @throws the reason of `signal`, once the command has ended
 */
export async function runHere(
  { command, timeLimitSeconds }: Pick<LabOptions, 'command' | 'timeLimitSeconds'>,
  signal: AbortSignal,
): Promise<number> {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  const child = startGroup('TERM', command, {
    env: { ...process.env, ICVPN_IN_LAB: '1', PATH: path },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const timers: NodeJS.Timeout[] = [];
  let late = false;
  const end = () => {
    signalGroup(child, 'SIGTERM');
    timers.push(setTimeout(() => signalGroup(child, 'SIGKILL'), GRACE));
  };
  if (timeLimitSeconds !== undefined) {
    const outOfTime = () => {
      late = true;
      end();
    };
    timers.push(setTimeout(outOfTime, timeLimitSeconds * 1000));
  }
  signal.addEventListener('abort', end, { once: true });
  try {
    await once(child, 'exit');
  } finally {
    signal.removeEventListener('abort', end);
    timers.forEach(clearTimeout);
    signalGroup(child, 'SIGKILL');
  }
  signal.throwIfAborted();
  if (!late) return exitCodeOf(child);
  throw new LabError(
    'ERR_LAB_TIME_LIMIT',
    `the command did not end within ${timeLimitSeconds} s`,
    'raise --time-limit',
    EXIT_TIME_LIMIT,
  );
}
