/**
 * Keeps a record store's records and floors in files, so that a node that restarts neither forgets
 * what it knew nor takes an older version of it.
 *
 * One file per key in a directory of its own, named by the key's hash, each replaced as a whole. What
 * comes from the files is checked like what comes from the network; only the floors are believed.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { bytes, message, optional, required, string, uint32, uint53 } from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';
import type { Held, RecordStore } from './record-store.ts';

const FILE = message({
  key: required(1, string({ min: 1, max: 512 })),
  floor: required(2, uint53()),
  envelope: optional(3, bytes({ max: 4 * 1024 * 1024 })),
  /** The rest of the floor, of kinds that have epochs. */
  epoch: optional(4, uint32()),
  change: optional(5, message({ epoch: required(1, uint32()), at: required(2, uint53()) })),
});

const SUFFIX = '.record';

export class RecordFiles {
  readonly #directory: string;
  readonly #store: RecordStore;
  /** What is to be written or, when undefined, deleted. */
  readonly #waiting = new Map<string, Held | undefined>();
  #writing: Promise<void> | undefined;
  #failure: unknown;

  private constructor(directory: string, store: RecordStore) {
    this.#directory = directory;
    this.#store = store;
  }

  /**
   * Reads what a directory has into `store`, and from then on writes to it what `store` takes.
   *
   * @param directory made, with mode 0700, when it is not there
   */
  static async open(directory: string, store: RecordStore): Promise<RecordFiles> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const files = new RecordFiles(directory, store);
    for (const name of await readdir(directory)) await files.#load(name);
    store.on('held', files.#onHeld);
    store.on('forgotten', files.#onForgotten);
    return files;
  }

  /** Writes what is still to be written. @throws IcvpnError `ERR_RECORD_FILES` when that failed */
  async close(): Promise<void> {
    this.#store.off('held', this.#onHeld);
    this.#store.off('forgotten', this.#onForgotten);
    await this.#writing;
    if (this.#failure !== undefined) {
      throw new IcvpnError(
        'ERR_RECORD_FILES',
        `records could not be written to ${this.#directory}`,
        'make room on the disk, or correct the owner and mode of the directory',
        { cause: this.#failure },
      );
    }
  }

  readonly #onHeld = (held: Held): void => this.#write(held.key, held);
  readonly #onForgotten = (key: string): void => this.#write(key, undefined);

  #write(key: string, held: Held | undefined): void {
    this.#waiting.set(key, held);
    this.#writing ??= this.#drain();
  }

  async #drain(): Promise<void> {
    for (const [key, held] of this.#waiting) {
      this.#waiting.delete(key);
      try {
        await this.#save(key, held);
        this.#failure = undefined;
      } catch (error) {
        this.#failure = error;
      }
    }
    // At once: what comes a moment later must find that nobody writes any more.
    this.#writing = undefined;
  }

  async #save(key: string, held: Held | undefined): Promise<void> {
    const file = path.join(this.#directory, nameOf(key));
    if (held === undefined) return rm(file, { force: true });
    const { sequence: floor, epoch, bytes: envelope } = held;
    const change = this.#store.floor(key)?.change;
    const content = FILE.encode({ key, floor, envelope, epoch: epoch || undefined, change });
    // A whole file takes the place of the old one, or the old one stays.
    const fresh = `${file}.${randomUUID()}.new`;
    await writeFile(fresh, content, { mode: 0o600 });
    await rename(fresh, file);
  }

  async #load(name: string): Promise<void> {
    const file = path.join(this.#directory, name);
    if (name.endsWith('.new')) return rm(file, { force: true });
    if (!name.endsWith(SUFFIX)) return;
    try {
      const kept = FILE.decode(Uint8Array.from(await readFile(file)));
      const { key, floor: sequence, epoch = 0, change, envelope } = kept;
      if (nameOf(key) !== name) return;
      await this.#store.restore(key, { epoch, sequence, change }, envelope);
    } catch (error) {
      // A record that has ended, or a damaged file: the overlay has the others' copies.
      if (!(error instanceof IcvpnError)) throw error;
    }
  }
}

function nameOf(key: string): string {
  return createHash('sha256').update(key).digest('hex') + SUFFIX;
}
