import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LabError } from '../errors.ts';

/**
 * Asks a User Mode Linux kernel for its version, which also shows that it is one.
 *
 * @param source where the kernel comes from, for a person: `$ICVPN_LAB_KERNEL` or `the cache`
 * @throws LabError ERR_LAB_NO_KERNEL
 */
export async function kernelVersion(kernel: string, source: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(kernel, ['--version'], { timeout: 10_000 });
    const version = /^\d+\.\d+\S*$/.exec(stdout.trim());
    if (!version) throw new Error(`it says '${stdout.split('\n')[0]}'`);
    return version[0];
  } catch (error) {
    throw new LabError(
      'ERR_LAB_NO_KERNEL',
      `${kernel} (${source}) is not a User Mode Linux kernel: ${error instanceof Error ? error.message : error}`,
      source.startsWith('$') ? `correct or unset ${source.slice(1)}` : `remove ${kernel}`,
    );
  }
}
