/**
 * The secure cache: what a node must keep across restarts and nobody else may read (node key,
 * credential, epoch secrets, attribute keys).
 *
 * ```
 * DIR            0700
 *   .key         32 random bytes, made at first start; absent when the operator provides a key file
 *   .header      an entry that proves the key
 *   NAME.entry   version (1) | nonce (12) | AES-256-GCM ciphertext | tag (16)
 * ```
 *
 * The additional data of an entry is `icvpn secure cache`, the format version and its name, so that
 * a file put in the place of another does not open. A key beside the entries guards single files
 * that leak (a backup, a copied file), not the whole directory: an operator who wants more gives a
 * key file from elsewhere, such as a systemd credential. An old entry put back by somebody who can
 * write the directory is not noticed.
 *
 * @example
 * ```ts
 * const cache = await SecureCache.open('/var/lib/icvpn');
 * await cache.put('node-key', bytes);
 * await cache.close();
 * ```
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { concat } from 'uint8arrays/concat';
import { createFile, removeFile, removeStaleTemporaries, replaceFile } from '../../files/atomic.ts';
import { CacheError } from './errors.ts';
import {
  asCacheError,
  listFiles,
  privateDirectory,
  readOperatorFile,
  readPrivate,
} from './files.ts';

const FORMAT_VERSION = 1;
const KEY_LENGTH = 32;
const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;
const OVERHEAD = 1 + NONCE_LENGTH + TAG_LENGTH;
/** Largest entry, in bytes. */
export const MAX_ENTRY_LENGTH = 1 << 22;
/** Largest key file, in bytes. */
const MAX_KEY_FILE_LENGTH = 4096;

const KEY_FILE = '.key';
const HEADER_FILE = '.header';
const SUFFIX = '.entry';
const HEADER_TEXT = new TextEncoder().encode('icvpn secure cache');
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

export interface SecureCacheOptions {
  /**
   * File with the operator's key: at least 32 random bytes, in any encoding, always the same ones.
   * Default: a key made at first start, in the cache's own directory.
   */
  readonly keyFile?: string;
}

export class SecureCache implements AsyncDisposable {
  readonly #dir: string;
  readonly #key: Uint8Array;
  #closed = false;
  /** Writes happen one after the other, so that the last `put` is the one that stays. */
  #writes: Promise<void> = Promise.resolve();

  private constructor(dir: string, key: Uint8Array) {
    this.#dir = dir;
    this.#key = key;
  }

  /**
   * Opens the cache in `dir`, which is made when it does not exist.
   *
   * @throws CacheError with fault `permissions` when others could get at it, `key` when the key is
   * missing or another one, `corrupt`, `size` or `io`
   */
  static async open(dir: string, options: SecureCacheOptions = {}): Promise<SecureCache> {
    await privateDirectory(dir);
    await asCacheError(dir, () => removeStaleTemporaries(dir));
    const headerPath = join(dir, HEADER_FILE);
    const header = await readPrivate(headerPath, OVERHEAD + HEADER_TEXT.length);
    const key = options.keyFile
      ? await operatorKey(options.keyFile)
      : await ownKey(join(dir, KEY_FILE), header === undefined);
    try {
      if (header !== undefined) assertKey(key, header, dir, options.keyFile);
      else if ((await entryNames(dir)).length > 0) {
        throw new CacheError('corrupt', `${headerPath} is missing`, 'restore the whole directory');
      } else {
        const first = seal(key, HEADER_FILE, HEADER_TEXT);
        await asCacheError(headerPath, () => createFile(headerPath, first));
      }
    } catch (error) {
      key.fill(0);
      throw error;
    }
    return new SecureCache(dir, key);
  }

  /** @returns undefined when there is no such entry. @throws CacheError */
  async get(name: string): Promise<Uint8Array | undefined> {
    const path = this.#path(name);
    const file = await readPrivate(path, MAX_ENTRY_LENGTH + OVERHEAD);
    if (file === undefined) return undefined;
    this.#assertOpen();
    const plain = unseal(this.#key, name, file);
    if (plain !== undefined) return plain;
    throw new CacheError(
      'corrupt',
      `${path} was altered or damaged`,
      'remove it, then let the node be admitted again',
    );
  }

  /** Returns when the entry is on the disk. @throws CacheError; the entry is then as it was */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    const path = this.#path(name);
    if (bytes.length > MAX_ENTRY_LENGTH) {
      const limit = `at most ${MAX_ENTRY_LENGTH}`;
      throw new CacheError('size', `${bytes.length} bytes for the entry ${name}`, limit);
    }
    const sealed = seal(this.#key, name, bytes);
    await this.#inTurn(() => asCacheError(path, () => replaceFile(path, sealed)));
  }

  /** Removes an entry; it is no error when there is none. @throws CacheError */
  async delete(name: string): Promise<void> {
    const path = this.#path(name);
    await this.#inTurn(() => asCacheError(path, () => removeFile(path)));
  }

  /** The names of all entries, sorted. @throws CacheError */
  async names(): Promise<string[]> {
    this.#assertOpen();
    return await entryNames(this.#dir);
  }

  /** Waits for writes under way and overwrites the key. May be called twice. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#writes;
    this.#key.fill(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #path(name: string): string {
    this.#assertOpen();
    if (!NAME.test(name)) {
      const allowed = 'use 1 to 128 letters, digits, ".", "_" and "-", not "." first';
      throw new CacheError('name', `"${name}" cannot name an entry`, allowed);
    }
    return join(this.#dir, `${name}${SUFFIX}`);
  }

  #assertOpen(): void {
    if (this.#closed) throw new CacheError('closed', 'the cache is closed', 'open it again');
  }

  #inTurn(write: () => Promise<void>): Promise<void> {
    const done = this.#writes.then(write);
    this.#writes = done.catch(() => undefined);
    return done;
  }
}

async function entryNames(dir: string): Promise<string[]> {
  const files = await listFiles(dir);
  return files
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => file.slice(0, -SUFFIX.length))
    .filter((name) => NAME.test(name))
    .sort();
}

async function operatorKey(path: string): Promise<Uint8Array> {
  const material = await readOperatorFile(path, MAX_KEY_FILE_LENGTH);
  if (material === undefined) {
    throw new CacheError('key', `the key file ${path} does not exist`, 'check the path');
  }
  if (material.length < KEY_LENGTH) {
    throw new CacheError(
      'key',
      `the key file ${path} has ${material.length} bytes; at least ${KEY_LENGTH} are needed`,
      `make one with: head -c ${KEY_LENGTH} /dev/urandom > ${path}`,
    );
  }
  const key = new Uint8Array(hkdfSync('sha256', material, '', HEADER_TEXT, KEY_LENGTH));
  material.fill(0);
  return key;
}

async function ownKey(path: string, mayMake: boolean): Promise<Uint8Array> {
  let key = await readPrivate(path, KEY_LENGTH);
  if (key === undefined && mayMake) {
    const made = randomBytes(KEY_LENGTH);
    await asCacheError(path, () => createFile(path, made));
    made.fill(0);
    // Another process may have made one first: what is on the disk counts.
    key = await readPrivate(path, KEY_LENGTH);
  }
  if (key === undefined) {
    throw new CacheError(
      'key',
      `${path} is missing`,
      'restore it, or give the key file that the cache was made with',
    );
  }
  if (key.length !== KEY_LENGTH) {
    throw new CacheError('corrupt', `${path} has ${key.length} bytes`, 'restore it from a backup');
  }
  return key;
}

function assertKey(key: Uint8Array, header: Uint8Array, dir: string, keyFile?: string): void {
  if (unseal(key, HEADER_FILE, header) !== undefined) return;
  const which = keyFile === undefined ? `the key in ${dir}` : `the key file ${keyFile}`;
  throw new CacheError(
    'key',
    `${which} does not open the cache in ${dir}`,
    'give the key that the cache was made with; without it, remove the directory and have the node admitted anew',
  );
}

const aad = (name: string): Uint8Array =>
  concat([HEADER_TEXT, Uint8Array.of(FORMAT_VERSION), new TextEncoder().encode(name)]);

function seal(key: Uint8Array, name: string, plain: Uint8Array): Uint8Array {
  const nonce = randomBytes(NONCE_LENGTH);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_LENGTH });
  cipher.setAAD(aad(name));
  const body = [cipher.update(plain), cipher.final(), cipher.getAuthTag()];
  return concat([Uint8Array.of(FORMAT_VERSION), nonce, ...body]);
}

function unseal(key: Uint8Array, name: string, file: Uint8Array): Uint8Array | undefined {
  if (file.length < OVERHEAD || file[0] !== FORMAT_VERSION) return undefined;
  const end = file.length - TAG_LENGTH;
  const nonce = file.subarray(1, 1 + NONCE_LENGTH);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_LENGTH });
  decipher.setAAD(aad(name));
  decipher.setAuthTag(file.subarray(end));
  try {
    return concat([decipher.update(file.subarray(1 + NONCE_LENGTH, end)), decipher.final()]);
  } catch {
    return undefined;
  }
}
