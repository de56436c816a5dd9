/**
 * A disk that fails at the n-th change: the functions of node:fs/promises that change something are
 * counted, and from a chosen one on they do nothing and throw.
 *
 * ```
 * 'full'   the n-th and later writes throw ENOSPC; removing and renaming go on, as on a full disk
 * 'dead'   the n-th change and everything after it throws: for the files the same as SIGKILL
 * ```
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

export type Failure = 'full' | 'dead';

type Named = 'open' | 'rename' | 'link' | 'rm' | 'writeFile' | 'mkdir';
const REAL = { ...fs.promises };

export class FailingDisk implements Disposable {
  readonly #how: Failure;
  #left: number;
  /** How many changes there were. */
  changes = 0;

  /** @param after changes that go well; Infinity only counts them */
  constructor(how: Failure, after: number) {
    this.#how = how;
    this.#left = after;
    const needsRoom: Record<Named, boolean> = {
      ...{ open: true, link: true, writeFile: true, mkdir: true },
      ...{ rename: false, rm: false },
    };
    for (const name of ['rename', 'link', 'rm', 'writeFile', 'mkdir'] as const) {
      this.#wrap(name, needsRoom[name]);
    }
    const { promises } = fs;
    promises.open = async (path, flags, mode) => {
      const writes = typeof flags === 'string' && flags !== 'r';
      if (writes) this.#change(true);
      const file = await REAL.open(path, flags, mode);
      const [write, sync] = [file.writeFile.bind(file), file.sync.bind(file)];
      file.writeFile = async (...args) => {
        this.#change(true);
        await write(...args);
      };
      file.sync = async () => {
        // Of a directory it takes no room.
        this.#change(writes);
        await sync();
      };
      return file;
    };
    syncBuiltinESMExports();
  }

  #wrap(name: Exclude<Named, 'open'>, needsRoom: boolean): void {
    const real = REAL[name];
    const counted = async (...args: unknown[]): Promise<unknown> => {
      this.#change(needsRoom);
      return await Reflect.apply(real, fs.promises, args);
    };
    Object.assign(fs.promises, { [name]: counted });
  }

  #change(needsRoom: boolean): void {
    this.changes++;
    if (this.#left > 0) {
      this.#left--;
      return;
    }
    if (this.#how === 'full' && !needsRoom) return;
    const code = this.#how === 'full' ? 'ENOSPC' : 'EIO';
    throw Object.assign(new Error(`${code}: made to fail`), { code });
  }

  [Symbol.dispose](): void {
    Object.assign(fs.promises, REAL);
    syncBuiltinESMExports();
  }
}
