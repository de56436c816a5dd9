import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { signalGroup, startGroup } from '../process.ts';

export interface ToolOptions {
  directory: string;
  environment?: NodeJS.ProcessEnv;
  /** Called with each line of its stdout. */
  onLine?: (line: string) => void;
}

/**
 * Runs a program of the kernel build with all that it starts, and returns what it wrote to stdout.
 *
 * @throws Error with the end of what it said, unless it exits 0
 * @throws the reason of `signal`, when none of its processes is left
 */
export async function tool(
  command: readonly string[],
  { directory, environment, onLine }: ToolOptions,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  const child = startGroup('KILL', command, {
    cwd: directory,
    env: { ...process.env, LC_ALL: 'C', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const kill = () => signalGroup(child, 'SIGKILL');
  signal.addEventListener('abort', kill);
  const output: string[] = [];
  const tail: string[] = [];
  const listen = (stream: NodeJS.ReadableStream | null, heard: (line: string) => void) => {
    if (!stream) return;
    createInterface({ input: stream }).on('line', (line) => {
      heard(line);
      tail.push(line);
      if (tail.length > 30) tail.shift();
    });
  };
  listen(child.stdout, (line) => {
    output.push(line);
    onLine?.(line);
  });
  listen(child.stderr, () => {});
  try {
    await once(child, 'close');
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
  }
  signal.throwIfAborted();
  if (child.exitCode !== 0) {
    throw new Error(`${command.join(' ')} failed:\n${tail.join('\n')}`);
  }
  return output.join('\n');
}
