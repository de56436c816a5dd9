/**
 * One process at a time on a directory: flock(2) on a file in it.
 *
 * The kernel gives the lock back when its holder ends, however it ends, so that there is no stale lock to
 * recognize (as there is with a file that exists, by process id and age). It holds between containers that share
 * the directory, too, which an abstract socket would not. Node has no flock; koffi calls it.
 */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import koffi from 'koffi';
import { IcvpnError } from '../errors.ts';

/** Stays when the lock is given back. */
export const LOCK_FILE = '.lock';
/** From sys/file.h. */
const LOCK_EX = 2;
const LOCK_NB = 4;
/** From asm-generic/errno-base.h. */
const EINTR = 4;
const EAGAIN = 11;
/** Milliseconds between two tries. */
const POLL_MS = 20;

export class LockError extends IcvpnError {}

let loaded: ((fd: number, operation: number) => number) | undefined;

/** @returns 0, or the errno */
function flock(fd: number, operation: number): number {
  loaded ??= koffi.load(null).func('int flock(int fd, int operation)');
  return loaded(fd, operation) === 0 ? 0 : koffi.errno();
}

export interface LockOptions {
  /** What the holder does, for those that wait: `icvpn revoke`. */
  readonly purpose: string;
  /** Milliseconds to wait for another holder. */
  readonly waitMs: number;
  readonly signal?: AbortSignal;
}

export class DirectoryLock implements AsyncDisposable {
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /**
   * Waits until this process alone holds the lock of `dir`, which must exist.
   *
   * @throws LockError `ERR_LOCKED`, which names the holder, when another one keeps it; the file system's error
   */
  static async take(dir: string, options: LockOptions): Promise<DirectoryLock> {
    const { purpose, waitMs } = options;
    const path = join(dir, LOCK_FILE);
    const end = performance.now() + waitMs;
    for (;;) {
      const file = await open(path, 'a+', 0o600);
      try {
        const held = await hold(path, file, { dir, end, ...options });
        if (held) {
          await note(file, purpose);
          return new DirectoryLock(file);
        }
      } catch (error) {
        await file.close();
        throw error;
      }
      // Its last holder has removed the file together with the directory.
      await file.close();
    }
  }

  /** Closing the file gives the lock back. The file stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

/** @returns false when what was locked is not the file at `path` any more. @throws LockError */
async function hold(
  path: string,
  file: FileHandle,
  { dir, end, waitMs, signal }: LockOptions & { dir: string; end: number },
): Promise<boolean> {
  for (;;) {
    signal?.throwIfAborted();
    const errno = flock(file.fd, LOCK_EX | LOCK_NB);
    if (errno === 0)
      return (await stat(path).catch(() => undefined))?.ino === (await file.stat()).ino;
    if (errno !== EAGAIN && errno !== EINTR) throw unlockable(path, errno);
    if (performance.now() > end) throw await locked(dir, file, waitMs);
    await delay(POLL_MS, undefined, signal && { signal });
  }
}

/** Tells those that wait who holds the lock. The lock holds without it, as on a full disk. */
async function note(file: FileHandle, purpose: string): Promise<void> {
  try {
    await file.truncate(0);
    await file.write(`process ${process.pid}, ${purpose}, since ${new Date().toISOString()}\n`);
  } catch {
    // The note is for people; what it would say is not needed to exclude others.
  }
}

async function locked(dir: string, file: FileHandle, waitMs: number): Promise<LockError> {
  const buffer = Buffer.alloc(512);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
  const holder = buffer.toString('utf8', 0, bytesRead).trim() || 'another process';
  return new LockError(
    'ERR_LOCKED',
    `${dir} is in use by ${holder}; waited ${waitMs / 1000} s`,
    'wait until it has ended, or end it, then try again',
  );
}

const unlockable = (path: string, errno: number): LockError =>
  new LockError(
    'ERR_LOCK',
    `${path} cannot be locked (errno ${errno})`,
    'put the directory on a file system that has locks',
  );
