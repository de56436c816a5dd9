import { existsSync } from 'node:fs';
import { mkdir, rename, rm, statfs } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { LabError } from '../errors.ts';
import { BUILD_PACKAGES, ensurePackages, isThere } from '../packages.ts';
import { compile } from './compile.ts';
import { lock } from './lock.ts';
import { Progress } from './progress.ts';
import { getSource } from './source.ts';

/** Free space that a build wants, in bytes: source, objects and package lists. */
const SPACE = 3 * 2 ** 30;

export interface BuildOptions {
  /** Where the kernel goes: {@link kernelFile}. Made if it is not there. */
  directory: string;
  /** Rejects if a kernel cannot do what is needed. */
  check: (kernel: string) => Promise<void>;
  say: (line: string) => void;
}

/** The kernel of a cache directory. It exists only when it is whole and was seen to work. */
export function kernelFile(directory: string): string {
  return join(directory, 'linux');
}

/**
 * Builds a User Mode Linux kernel into a cache directory. If another process is building the same,
 * waits for that and takes its kernel.
 *
 *   directory/lock     held while building
 *   directory/build/   everything that is not ready; a leftover of a killed build is removed
 *   directory/linux    appears at once, by rename
 *
 * @throws LabError if there cannot be one on this machine
 */
export async function buildKernel(options: BuildOptions, signal: AbortSignal): Promise<void> {
  const { directory, check, say } = options;
  if (process.arch !== 'x64' || !isThere('apt-get')) {
    throw new LabError(
      'ERR_LAB_NO_KERNEL',
      'a lab kernel can be built only on x86-64 with Debian or Ubuntu',
      'run as root on a kernel with ESP, or set ICVPN_LAB_KERNEL to a User Mode Linux kernel',
    );
  }
  await ensurePackages(BUILD_PACKAGES, say, signal);
  await mkdir(directory, { recursive: true });
  const waiting = setTimeout(() => say('waiting for a build that is under way elsewhere'), 1000);
  await using _ = await lock(join(directory, 'lock'), signal).finally(() => clearTimeout(waiting));
  if (existsSync(kernelFile(directory))) return;

  const work = join(directory, 'build');
  await rm(work, { recursive: true, force: true });
  await mkdir(work);
  try {
    await demandSpace(work);
    say(
      `building a lab kernel, once: about ${Math.ceil(20 / availableParallelism())} minutes, 2 GB of disk`,
    );
    const progress = new Progress(process.stderr);
    const kernel = await compile(await getSource(work, progress, signal), progress, signal);
    progress.step('trying it out');
    await check(kernel);
    await rename(kernel, kernelFile(directory));
    progress.step(`done: ${kernelFile(directory)}`);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof LabError) throw error;
    throw new LabError(
      'ERR_LAB_BUILD',
      `building a lab kernel failed: ${error instanceof Error ? error.message : error}`,
      'try again, or set ICVPN_LAB_KERNEL to a User Mode Linux kernel',
    );
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function demandSpace(directory: string): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  if (bavail * bsize >= SPACE) return;
  throw new LabError(
    'ERR_LAB_SPACE',
    `building a lab kernel takes ${SPACE / 2 ** 30} GB, more than is free at ${directory}`,
    'make room, or set XDG_CACHE_HOME to a directory on a larger disk',
  );
}
