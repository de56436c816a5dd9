/**
 * Keeps a record store's records and floors in files, so that a node that restarts neither forgets
 * what it knew nor takes an older version of it.
 *
 * One file per key in a directory of its own, named by the key's hash, each replaced as a whole. What
 * comes from the files is checked like what comes from the network; only the floors are believed.
 *
 * ```
 *  durable kinds ─▶ group: all that wait ─▶ fsync each, rename, one fsync of the directory ─▶ acknowledged
 *  other kinds   ─▶ one by one, when no durable record waits, without fsync
 * ```
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { bytes, message, optional, required, string, uint32, uint53 } from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';
import {
  type FileContent,
  makeDirectory,
  removeFile,
  removeStaleTemporaries,
  replaceFiles,
  replaceFileUnsynced,
} from '../files/atomic.ts';
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
/** Files that are written in one group. */
const MAX_GROUP = 64;
/** Milliseconds until what the disk refused is tried again. */
const RETRY_MS = 10_000;

/** What is to be written under a key, and who waits for it. */
interface Waiting {
  readonly held: Held;
  readonly waiters: PromiseWithResolvers<void>[];
}

export interface RecordFilesOptions {
  /** Told when the disk begins to refuse records. */
  readonly onFailure?: (error: unknown) => void;
}

export class RecordFiles {
  readonly #directory: string;
  readonly #store: RecordStore;
  readonly #options: RecordFilesOptions;
  /** By key: what others wait for, what may take its time, and what is to be deleted. */
  readonly #durable = new Map<string, Waiting>();
  readonly #later = new Map<string, Held>();
  readonly #forgotten = new Set<string>();
  #writing: Promise<void> | undefined;
  #failure: unknown;
  #retry: NodeJS.Timeout | undefined;

  private constructor(directory: string, store: RecordStore, options: RecordFilesOptions) {
    this.#directory = directory;
    this.#store = store;
    this.#options = options;
  }

  /**
   * Reads what a directory has into `store`, and from then on writes to it what `store` takes.
   *
   * @param directory made, with mode 0700, when it is not there
   */
  static async open(
    directory: string,
    store: RecordStore,
    options: RecordFilesOptions = {},
  ): Promise<RecordFiles> {
    await makeDirectory(directory);
    await removeStaleTemporaries(directory, 0);
    const files = new RecordFiles(directory, store, options);
    for (const name of await readdir(directory)) await files.#load(name);
    store.persistBy((held) => files.#persist(held));
    store.on('held', files.#onHeld);
    store.on('forgotten', files.#onForgotten);
    return files;
  }

  /** Writes what is still to be written. @throws IcvpnError `ERR_RECORD_FILES` when that failed */
  async close(): Promise<void> {
    this.#store.off('held', this.#onHeld);
    this.#store.off('forgotten', this.#onForgotten);
    await this.#writing;
    await this.#store.storeAgain();
    clearTimeout(this.#retry);
    this.#store.persistBy(undefined);
    if (this.#failure !== undefined) {
      throw new IcvpnError(
        'ERR_RECORD_FILES',
        `records could not be written to ${this.#directory}`,
        'make room on the disk, or correct the owner and mode of the directory',
        { cause: this.#failure },
      );
    }
  }

  #persist(held: Held): Promise<void> {
    const waiter = Promise.withResolvers<void>();
    // Whoever waits for the version before is served by the one that takes its place.
    const waiters = [...(this.#durable.get(held.key)?.waiters ?? []), waiter];
    this.#durable.set(held.key, { held, waiters });
    this.#forgotten.delete(held.key);
    this.#writing ??= this.#drain();
    return waiter.promise;
  }

  readonly #onHeld = (held: Held): void => {
    if (held.kind.durable) return;
    this.#later.set(held.key, held);
    this.#forgotten.delete(held.key);
    this.#writing ??= this.#drain();
  };

  readonly #onForgotten = (key: string): void => {
    this.#later.delete(key);
    for (const waiter of this.#durable.get(key)?.waiters ?? []) waiter.resolve();
    this.#durable.delete(key);
    this.#forgotten.add(key);
    this.#writing ??= this.#drain();
  };

  async #drain(): Promise<void> {
    // What comes in this very turn joins the first group.
    await Promise.resolve();
    while (this.#durable.size + this.#later.size + this.#forgotten.size > 0) {
      if (this.#durable.size > 0) await this.#writeGroup();
      else await this.#writeOne();
    }
    // At once: what comes a moment later must find that nobody writes any more.
    this.#writing = undefined;
  }

  async #writeGroup(): Promise<void> {
    const group = [...this.#durable.values()].slice(0, MAX_GROUP);
    for (const { held } of group) this.#durable.delete(held.key);
    const files = group.map(({ held }) => this.#fileOf(held));
    const errors = await replaceFiles(this.#directory, files);
    this.#note(errors.find((error) => error !== undefined));
    for (const [i, { waiters }] of group.entries()) {
      const error = errors[i];
      for (const waiter of waiters) error ? waiter.reject(error) : waiter.resolve();
    }
  }

  async #writeOne(): Promise<void> {
    try {
      const [gone] = this.#forgotten;
      const [held] = this.#later.values();
      if (gone !== undefined) {
        this.#forgotten.delete(gone);
        await removeFile(path.join(this.#directory, nameOf(gone)));
      } else if (held !== undefined) {
        this.#later.delete(held.key);
        const file = this.#fileOf(held);
        await replaceFileUnsynced(file.path, file.bytes);
      }
      this.#note(undefined);
    } catch (error) {
      this.#note(error);
    }
  }

  #fileOf({ key, sequence: floor, epoch, bytes: envelope }: Held): FileContent {
    const change = this.#store.floor(key)?.change;
    return {
      path: path.join(this.#directory, nameOf(key)),
      bytes: FILE.encode({ key, floor, envelope, epoch: epoch || undefined, change }),
    };
  }

  #note(error: unknown): void {
    const began = this.#failure === undefined && error !== undefined;
    this.#failure = error;
    if (error === undefined) return;
    if (began) this.#options.onFailure?.(error);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#store.storeAgain(), RETRY_MS).unref();
  }

  async #load(name: string): Promise<void> {
    const file = path.join(this.#directory, name);
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
