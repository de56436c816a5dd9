/** Files that nobody else can read, and what is wrong with those that others can. */
import { constants, type Stats } from 'node:fs';
import { lstat, mkdir, open, readdir } from 'node:fs/promises';
import { FileError } from '../../files/atomic.ts';
import { CacheError } from './errors.ts';

const mode = (stats: Stats): string => (stats.mode & 0o777).toString(8).padStart(4, '0');

/** Linux always has it; elsewhere there are no owners to compare. */
const self = (): number | undefined => process.geteuid?.();

function refuse(path: string, reason: string, remedy: string): never {
  throw new CacheError('permissions', `${path} ${reason}`, remedy);
}

function assertOwner(path: string, stats: Stats, owners: (number | undefined)[]): void {
  if (owners.includes(stats.uid)) return;
  refuse(path, `belongs to uid ${stats.uid}, not ${self()}`, `chown ${self()} ${path}`);
}

/** Makes `dir` (0700) or checks that it is one. @throws CacheError with fault `permissions` or `io` */
export async function privateDirectory(dir: string): Promise<void> {
  await asCacheError(dir, () => mkdir(dir, { recursive: true, mode: 0o700 }));
  const stats = await asCacheError(dir, () => lstat(dir));
  if (!stats.isDirectory()) refuse(dir, 'is not a directory', 'give the path of a directory');
  assertOwner(dir, stats, [self()]);
  if (stats.mode & 0o077) {
    refuse(dir, `has mode ${mode(stats)}: others can get at it`, `chmod 0700 ${dir}`);
  }
}

/**
 * @param maxLength in bytes
 * @returns undefined when there is no such file
 * @throws CacheError with fault `permissions`, `size` or `io`
 */
export async function readPrivate(
  path: string,
  maxLength: number,
): Promise<Uint8Array | undefined> {
  return await readChecked(path, maxLength, constants.O_NOFOLLOW, (stats) => {
    assertOwner(path, stats, [self()]);
    if (stats.mode & 0o077) {
      refuse(path, `has mode ${mode(stats)}: others can get at it`, `chmod 0600 ${path}`);
    }
  });
}

/**
 * Reads a key file of the operator's: also root's, also through a link, also readable by its group,
 * since that is how systemd and container runtimes hand credentials to services.
 *
 * @throws CacheError with fault `permissions`, `size` or `io`
 */
export async function readOperatorFile(
  path: string,
  maxLength: number,
): Promise<Uint8Array | undefined> {
  return await readChecked(path, maxLength, 0, (stats) => {
    assertOwner(path, stats, [self(), 0]);
    if (stats.mode & 0o027) {
      refuse(path, `has mode ${mode(stats)}: others can get at it`, `chmod 0400 ${path}`);
    }
  });
}

async function readChecked(
  path: string,
  maxLength: number,
  flags: number,
  check: (stats: Stats) => void,
): Promise<Uint8Array | undefined> {
  return await asCacheError(path, async () => {
    // Not to hang on a FIFO that somebody put there.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | flags).catch(absent);
    if (file === undefined) return undefined;
    try {
      const stats = await file.stat();
      if (!stats.isFile()) refuse(path, 'is not a regular file', 'remove it');
      check(stats);
      if (stats.size > maxLength) {
        throw new CacheError('size', `${path} has ${stats.size} bytes`, `at most ${maxLength}`);
      }
      return await file.readFile();
    } finally {
      await file.close();
    }
  });
}

export async function listFiles(dir: string): Promise<string[]> {
  return await asCacheError(dir, () => readdir(dir));
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}

/** @throws CacheError in the place of the file system's errors */
export async function asCacheError<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    if (cause instanceof CacheError) throw cause;
    if (cause instanceof FileError) {
      throw new CacheError('io', cause.message, cause.remedy, { cause });
    }
    if (cause instanceof Error && 'code' in cause && cause.code === 'ELOOP') {
      refuse(path, 'is a symbolic link', 'remove it: somebody may have put it there');
    }
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CacheError('io', `${path}: ${reason}`, 'see to the file system and its free space', {
      cause,
    });
  }
}
