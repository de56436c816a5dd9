/**
 * The directory of a service's owner, on the owner's own machine. `docs/owner.md` says what a crash at each
 * instant leaves.
 *
 * ```
 * <dir>/              0700
 *   .lock             locked by the act that is under way; free again when its process ends
 *   cache/            encrypted at rest; one entry, `owner`: the state, replaced as a whole
 * ```
 */
import { lstat, mkdir, open, rm, rmdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { FileError, placeFile, removeStaleTemporaries, stageFile } from '../files/atomic.ts';
import { DirectoryLock } from '../files/lock.ts';
import { CacheError } from '../keymgmt/cache/errors.ts';
import { SecureCache } from '../keymgmt/cache/secure-cache.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import { OwnerError } from './errors.ts';
import { decodeOwnerState, encodeOwnerState, type OwnerState, type StagedFile } from './state.ts';

const ENTRY = 'owner';
/** Milliseconds to wait for another act on the same directory. */
const LOCK_WAIT_MS = 60_000;

const cachePath = (dir: string): string => join(dir, 'cache');

export interface DirectoryOptions {
  /** What is done, for others that wait for it: `icvpn revoke`. */
  readonly purpose: string;
  readonly signal?: AbortSignal;
}

/** Bootstrap data that an act writes. */
export interface OutsideFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Whether it takes the place of a file that is there; else there must be none. */
  readonly replace: boolean;
}

/** The newest state of an owner's directory. @throws OwnerError `ERR_NO_SERVICE`, `ERR_OWNER_DAMAGED` */
export async function readOwner(dir: string): Promise<OwnerState> {
  await using cache = await openExisting(dir);
  return (await readState(dir, cache)).state;
}

/** The newest descriptor that the owner of `dir` signed. @throws OwnerError */
export async function readDescriptor(dir: string): Promise<Opened<ServiceDescriptor>> {
  return (await readOwner(dir)).descriptor;
}

/** An owner's directory that this process alone changes, until it is disposed of. */
export class OwnerDirectory implements AsyncDisposable {
  readonly #cache: SecureCache;
  readonly #owned: AsyncDisposableStack;
  #state: OwnerState | undefined;

  private constructor(cache: SecureCache, owned: AsyncDisposableStack, state?: OwnerState) {
    this.#cache = cache;
    this.#owned = owned;
    this.#state = state;
  }

  /**
   * Waits until nobody else changes it, and ends what a crash interrupted.
   *
   * @throws OwnerError `ERR_NO_SERVICE`, `ERR_OWNER_DAMAGED`, LockError `ERR_LOCKED`
   */
  static async open(dir: string, options: DirectoryOptions): Promise<OwnerDirectory> {
    await using owned = new AsyncDisposableStack();
    await assertService(dir);
    owned.use(await DirectoryLock.take(dir, { ...options, waitMs: LOCK_WAIT_MS }));
    const cache = owned.use(await openExisting(dir));
    const { state, staged } = await readState(dir, cache);
    if (staged !== undefined) await place(staged).catch(() => undefined);
    return new OwnerDirectory(cache, owned.move(), state);
  }

  /**
   * Makes the directory of a new service, with its first state. What it made is gone when it throws.
   *
   * @throws OwnerError `ERR_SERVICE_EXISTS`, FileError
   */
  static async create(
    dir: string,
    options: DirectoryOptions & { readonly state: OwnerState; readonly file?: OutsideFile },
  ): Promise<void> {
    const made = await mkdir(dir, { recursive: true, mode: 0o700 });
    const lock = { ...options, waitMs: LOCK_WAIT_MS };
    await using _ = await DirectoryLock.take(dir, lock).catch(async (error: unknown) => {
      await removeDirectories(dir, made);
      throw error;
    });
    const hadCache = await exists(cachePath(dir));
    try {
      await using cache = await SecureCache.open(cachePath(dir));
      if ((await cache.names()).length > 0) throw occupied(dir);
      const fresh = new OwnerDirectory(cache, new AsyncDisposableStack());
      await fresh.commit(options.state, options.file);
    } catch (error) {
      await removeMade(dir, made, hadCache);
      throw error;
    }
  }

  get state(): OwnerState {
    if (this.#state === undefined) throw new TypeError('the directory has no state yet');
    return this.#state;
  }

  /**
   * Makes `next` the state, and writes `file`: both or neither. On the disk when this returns.
   *
   * @throws FileError, CacheError, OwnerError `ERR_FILE_EXISTS`; all is then as it was
   */
  async commit(next: OwnerState, file?: OutsideFile): Promise<void> {
    const staged = file && (await stage(file));
    try {
      await this.#put(next, staged);
      if (staged !== undefined) await place(staged);
    } catch (error) {
      await this.#putBack(staged);
      throw error;
    }
    this.#state = next;
  }

  async #put(state: OwnerState, staged: StagedFile | undefined): Promise<void> {
    const raw = encodeOwnerState(state, staged);
    try {
      await this.#cache.put(ENTRY, raw);
    } finally {
      raw.fill(0);
    }
  }

  /** Where that fails too, the next act finds the new state, and the staged file with it. */
  async #putBack(staged: StagedFile | undefined): Promise<void> {
    // The error that led here is the one to tell.
    try {
      if (this.#state === undefined) await this.#cache.delete(ENTRY);
      else await this.#put(this.#state, undefined);
    } catch {
      if (await this.#refersTo(staged).catch(() => true)) return;
    }
    if (staged !== undefined) await unstage(staged).catch(() => undefined);
  }

  /** Whether what is on the disk has a staged file to be put in its place. */
  async #refersTo(staged: StagedFile | undefined): Promise<boolean> {
    const raw = await this.#cache.get(ENTRY);
    if (raw === undefined || staged === undefined) return false;
    const there = await decodeOwnerState(raw);
    raw.fill(0);
    return there.staged?.temporary === staged.temporary;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/**
 * The content waits beside the file; where the file is new, its name is taken at once, since that may need room on
 * the disk and a rename does not. So nothing that can fail is left for after the commit.
 */
async function stage({ path, bytes, replace }: OutsideFile): Promise<StagedFile> {
  const whole = resolve(path);
  if (!replace && (await isTaken(whole))) throw fileExists(path);
  await removeStaleTemporaries(dirname(whole)).catch(() => undefined);
  const temporary = await stageFile(whole, bytes);
  try {
    if (!replace) await reserve(whole);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  return { path: whole, temporary, replace: replace ? 1 : 0 };
}

/** An empty file was reserved by an act that did not come to its end; nothing is lost with it. */
async function isTaken(path: string): Promise<boolean> {
  if (!(await exists(path))) return false;
  const stats = await lstat(path);
  return !stats.isFile() || stats.size > 0;
}

/** @throws FileError */
async function reserve(path: string): Promise<void> {
  try {
    await (await open(path, 'wx', 0o600)).close();
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code !== 'EEXIST') throw new FileError(path, cause);
    if (await isTaken(path)) throw fileExists(path);
  }
}

async function unstage({ path, temporary, replace }: StagedFile): Promise<void> {
  await rm(temporary, { force: true });
  if (replace === 0 && !(await isTaken(path))) await rm(path, { force: true });
}

/** @throws OwnerError `ERR_FILE_EXISTS` when somebody else has put a file there, FileError */
async function place({ path, temporary, replace }: StagedFile): Promise<void> {
  if (replace === 0 && (await isTaken(path))) throw fileExists(path);
  await placeFile(temporary, path);
}

async function readState(dir: string, cache: SecureCache) {
  const raw = await cache.get(ENTRY).catch((error: unknown) => {
    throw damage(dir, error);
  });
  if (raw === undefined) throw noService(dir);
  const decoded = await decodeOwnerState(raw);
  raw.fill(0);
  return decoded;
}

/** A cache that is not there is not made: a mistyped --dir leaves nothing behind. */
async function openExisting(dir: string): Promise<SecureCache> {
  await assertService(dir);
  return SecureCache.open(cachePath(dir)).catch((error: unknown) => {
    throw damage(dir, error);
  });
}

async function assertService(dir: string): Promise<void> {
  if (!(await exists(join(cachePath(dir), `${ENTRY}.entry`)))) throw noService(dir);
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw error;
  }
}

/** To be called with the lock held. */
async function removeMade(dir: string, made: string | undefined, hadCache: boolean): Promise<void> {
  try {
    if (!hadCache) await rm(cachePath(dir), { recursive: true, force: true });
    if (made !== undefined) await rm(join(dir, '.lock'), { force: true });
  } catch {
    // The error that led here is the one to tell.
  }
  await removeDirectories(dir, made);
}

/** Directories that others use meanwhile are not empty, and stay. @param made the first one that was made */
async function removeDirectories(dir: string, made: string | undefined): Promise<void> {
  if (made === undefined) return;
  const top = dirname(resolve(made));
  try {
    for (let each = resolve(dir); each !== top; each = dirname(each)) await rmdir(each);
  } catch {
    // The error that led here is the one to tell.
  }
}

const occupied = (dir: string): OwnerError =>
  new OwnerError(
    'ERR_SERVICE_EXISTS',
    `${dir} holds a service already`,
    'give another --dir; overwriting the key would orphan that service',
  );

const noService = (dir: string): OwnerError =>
  new OwnerError(
    'ERR_NO_SERVICE',
    `${dir} holds no service`,
    'give the --dir that the service was created with',
  );

const fileExists = (path: string): OwnerError =>
  new OwnerError('ERR_FILE_EXISTS', `${path} exists already`, 'choose another name');

/** Nobody but the owner can make another of what is in it: nothing of it is to be removed. */
function damage(dir: string, error: unknown): unknown {
  if (!(error instanceof CacheError) || !['corrupt', 'key'].includes(error.fault)) return error;
  return new OwnerError(
    'ERR_OWNER_DAMAGED',
    `the owner's key and secrets in ${dir} cannot be read: ${error.message}`,
    'put the directory back from its backup and keep what is damaged; what was signed since is taken from the super-peers',
    { cause: error },
  );
}
