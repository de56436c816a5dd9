/**
 * Watches what code does with files, in order, and can let any of its calls fail, or end the process there.
 *
 * The functions of `node:fs/promises` are replaced in place, so that what is watched is the code as it runs elsewhere.
 */
import fs, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

/** A call that changes something on the disk, or makes a change durable. */
export type FileCall =
  | 'create'
  | 'write'
  | 'sync file'
  | 'sync directory'
  | 'truncate'
  | 'rename'
  | 'link'
  | 'remove'
  | 'make directory';

/** Asked before each call; an error that it throws is what the call fails with. */
export type Watcher = (call: FileCall, path: string) => void;

/** @returns how to stop watching */
export function onFileCalls(watcher: Watcher): () => void {
  const { open, rename, link, rm, mkdir } = fs;
  const watched =
    (call: FileCall, real: (...args: never[]) => Promise<unknown>) =>
    async (...args: unknown[]): Promise<unknown> => {
      watcher(call, String(args[0]));
      return Reflect.apply(real, fs, args);
    };
  const watchedOpen: typeof open = async (path, flags, mode) => {
    if (typeof flags === 'string' && flags !== 'r') watcher('create', String(path));
    const file = await open(path, flags, mode);
    watchHandle(file, String(path), (await file.stat()).isDirectory(), watcher);
    return file;
  };
  Object.assign(fs, {
    open: watchedOpen,
    rename: watched('rename', rename),
    link: watched('link', link),
    rm: watched('remove', rm),
    mkdir: watched('make directory', mkdir),
  });
  syncBuiltinESMExports();
  return () => {
    Object.assign(fs, { open, rename, link, rm, mkdir });
    syncBuiltinESMExports();
  };
}

const OF_HANDLE = {
  writeFile: 'write',
  appendFile: 'write',
  write: 'write',
  truncate: 'truncate',
  sync: 'sync file',
  datasync: 'sync file',
} as const;

function watchHandle(file: FileHandle, path: string, isDirectory: boolean, watcher: Watcher): void {
  for (const [name, call] of Object.entries(OF_HANDLE)) {
    const real: unknown = Reflect.get(file, name);
    if (typeof real !== 'function') continue;
    const value = async (...args: unknown[]): Promise<unknown> => {
      watcher(isDirectory ? 'sync directory' : call, path);
      return Reflect.apply(real, file, args);
    };
    Object.defineProperty(file, name, { value, configurable: true });
  }
}

/** An error as the file system gives it. */
export const fileSystemError = (code: string): Error =>
  Object.assign(new Error(`${code}: made to fail`), { code });
