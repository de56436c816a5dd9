/**
 * Files that a crash, a power cut or a full disk leaves either old or new, never between.
 *
 * ```
 * stage                          place
 * open ─▶ write ─▶ fsync file ─▶ rename or link ─▶ fsync directory
 *                             │
 *                             └─ before: the old file; from here on: the new one
 * ```
 *
 * The temporary file stands beside the file that it becomes, since a rename works only within one file system.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { IcvpnError } from '../errors.ts';

const TEMPORARY = '.icvpn-tmp-';
/** A temporary file lives for milliseconds; one this old was left by a crash. */
const STALE_MS = 60_000;

/** A file cannot be written. `code` is `ERR_DISK_FULL` or `ERR_FILE`; the cause is the file system's error. */
export class FileError extends IcvpnError {
  constructor(path: string, cause: unknown) {
    const full = FULL.has(errorCode(cause));
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = full ? `${path} was not stored: the disk is full` : `${path}: ${reason}`;
    super(full ? 'ERR_DISK_FULL' : 'ERR_FILE', message, remedyOf(cause), { cause });
  }
}

/** No space, no inode, or over the quota. */
const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT']);

const errorCode = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined;

function remedyOf(cause: unknown): string {
  switch (errorCode(cause)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'make room on the disk, then try again';
    case 'EROFS':
      return 'the file system is read-only: give a path on one that can be written';
    case 'EACCES':
    case 'EPERM':
      return 'run as root or as its owner';
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EISDIR':
      return 'check the path';
    default:
      return 'see to the file system and its free space';
  }
}

/** Makes `path` (0600), in the place of what was there. @throws FileError; the old file then stays */
export async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  await placeFile(await stageFile(path, bytes), path);
}

/**
 * The same without fsync, for what others have too: a crash of the program leaves the old or the new file, a power
 * cut perhaps an empty one. @throws FileError
 */
export async function replaceFileUnsynced(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = await stageFile(path, bytes, { sync: false });
  try {
    await rename(temporary, path);
  } catch (cause) {
    await discardFile(temporary);
    throw new FileError(path, cause);
  }
}

/** One of the files of `replaceFiles`. */
export interface FileContent {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/**
 * Replaces or makes files of one directory, with one fsync of the directory for all. A crash leaves each of them old
 * or new.
 *
 * @returns for each file why it is not on the disk, or undefined when it is
 */
export async function replaceFiles(
  dir: string,
  files: readonly FileContent[],
): Promise<(FileError | undefined)[]> {
  const errors = await Promise.all(
    files.map(async ({ path, bytes }) => {
      let temporary = '';
      try {
        temporary = await stageFile(path, bytes);
        await rename(temporary, path);
        return undefined;
      } catch (cause) {
        if (temporary !== '') await discardFile(temporary);
        return cause instanceof FileError ? cause : new FileError(path, cause);
      }
    }),
  );
  try {
    await syncDirectory(dir);
    return errors;
  } catch (cause) {
    return files.map(({ path }) => new FileError(path, cause));
  }
}

/** Makes `path` (0600) unless it exists. @returns false when it exists. @throws FileError */
export async function createFile(path: string, bytes: Uint8Array): Promise<boolean> {
  return await placeNewFile(await stageFile(path, bytes), path);
}

/**
 * Writes what is to become `path` to a temporary file beside it, on the disk when this returns.
 *
 * @returns the temporary file's path
 * @throws FileError; no temporary file is left then
 */
export async function stageFile(
  path: string,
  bytes: Uint8Array,
  { sync = true } = {},
): Promise<string> {
  const temporary = join(dirname(path), `${TEMPORARY}${randomBytes(8).toString('hex')}`);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      if (sync) await file.sync();
    } finally {
      await file.close();
    }
  } catch (cause) {
    await discardFile(temporary);
    throw new FileError(path, cause);
  }
  return temporary;
}

/** Puts a staged file in the place of `path`. @throws FileError; the old file then stays */
export async function placeFile(temporary: string, path: string): Promise<void> {
  try {
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  } catch (cause) {
    await discardFile(temporary);
    throw new FileError(path, cause);
  }
}

/** Gives a staged file its name unless that is taken. @returns false when it is. @throws FileError */
export async function placeNewFile(temporary: string, path: string): Promise<boolean> {
  try {
    // link, unlike rename, does not replace what another process made meanwhile.
    await link(temporary, path);
    await syncDirectory(dirname(path));
    return true;
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') return false;
    throw new FileError(path, cause);
  } finally {
    await discardFile(temporary);
  }
}

/** Removes `path`, if it is there; it is gone from the disk when this returns. @throws FileError */
export async function removeFile(path: string): Promise<void> {
  try {
    await rm(path, { force: true });
    await syncDirectory(dirname(path));
  } catch (cause) {
    throw new FileError(path, cause);
  }
}

/** Makes a directory (0700) and those above it that are missing; they are on the disk when this returns. @throws FileError */
export async function makeDirectory(path: string): Promise<void> {
  try {
    const first = await mkdir(path, { recursive: true, mode: 0o700 });
    if (first === undefined) return;
    // Each directory that was made is an entry of the one above it.
    for (let made = path; made !== dirname(first); made = dirname(made)) {
      await syncDirectory(dirname(made));
    }
  } catch (cause) {
    throw new FileError(path, cause);
  }
}

/**
 * Removes what crashed writers left in a directory.
 *
 * @param olderThan milliseconds; 0 where no other process can be writing there
 * @throws FileError
 */
export async function removeStaleTemporaries(dir: string, olderThan = STALE_MS): Promise<void> {
  try {
    for (const name of await readdir(dir)) {
      if (!name.startsWith(TEMPORARY)) continue;
      const path = join(dir, name);
      const stats = await stat(path).catch(absent);
      // A file's time has parts of a millisecond and Date.now() has none: a fresh file is from the future.
      const isYoung = olderThan > 0 && Date.now() - (stats?.mtimeMs ?? 0) < olderThan;
      if (stats !== undefined && !isYoung) await removeFile(path);
    }
  } catch (cause) {
    throw cause instanceof FileError ? cause : new FileError(dir, cause);
  }
}

/** The error that led here is the one to tell; a temporary file that stays is removed as a stale one later. */
const discardFile = (temporary: string): Promise<void> =>
  rm(temporary, { force: true }).catch(() => undefined);

/** A new name is on the disk only when its directory is. */
export async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}
