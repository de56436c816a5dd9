import { once } from 'node:events';
import { signalGroup, startGroup } from '../process.ts';

/**
 * Takes an exclusive lock on a file, waiting for whoever has it. It ends with the returned object
 * or with this process, however that ends: `flock` holds it for a `cat` that reads from us.
 */
export async function lock(file: string, signal: AbortSignal): Promise<AsyncDisposable> {
  const holder = startGroup('KILL', ['flock', file, 'sh', '-c', 'echo locked; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(holder, 'exit');
  const release = async () => {
    signalGroup(holder, 'SIGKILL');
    await exited;
  };
  try {
    if (holder.stdout) await Promise.race([once(holder.stdout, 'data', { signal }), exited]);
    if (holder.exitCode !== null) throw new Error(`flock ${file}: exit code ${holder.exitCode}`);
  } catch (error) {
    await release();
    throw error;
  }
  return { [Symbol.asyncDispose]: release };
}
