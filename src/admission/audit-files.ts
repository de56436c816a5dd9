/**
 * The files of an audit log.
 *
 * ```
 * audit.log                               what is written to
 * audit.log.<last sequence>-<time>        older ones, whole; the oldest goes when there are more than eight
 * audit.log.head                          where the chain stood a minute ago at most: shows lines that were cut off
 * ```
 */
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FileError, replaceFile, syncDirectory } from '../files/atomic.ts';
import type { AuditHead } from './audit-record.ts';

/** Older files that are kept. */
const KEPT_FILES = 8;

const headPath = (path: string): string => `${path}.head`;

/** @returns the paths of all files of a log that are there, the oldest first; the last may be missing */
export async function auditFiles(path: string): Promise<string[]> {
  return [...(await olderFiles(path)), path];
}

async function olderFiles(path: string): Promise<string[]> {
  const [dir, name] = [dirname(path), basename(path)];
  const files = await readdir(dir).catch(() => []);
  const older = files.filter((each) => each.startsWith(`${name}.`) && /\.\d{12}-\d+$/.test(each));
  return older.sort().map((each) => join(dir, each));
}

/**
 * Makes the file of a log an older one, and removes the oldest ones.
 *
 * @param sequence of its last line
 * @throws FileError
 */
export async function retireFile(path: string, sequence: number, now: number): Promise<void> {
  try {
    await rename(path, `${path}.${String(sequence).padStart(12, '0')}-${now}`);
    for (const old of (await olderFiles(path)).slice(0, -KEPT_FILES)) await rm(old);
    await syncDirectory(dirname(path));
  } catch (cause) {
    throw new FileError(path, cause);
  }
}

/** @throws FileError */
export async function writeHead(path: string, head: AuditHead): Promise<void> {
  await replaceFile(headPath(path), new TextEncoder().encode(`${JSON.stringify(head)}\n`));
}

/** @returns undefined when there is none that can be read: then the log itself is all there is to go by */
export async function readHead(path: string): Promise<AuditHead | undefined> {
  try {
    const head: unknown = JSON.parse(await readFile(headPath(path), 'utf8'));
    if (typeof head !== 'object' || head === null) return undefined;
    if (!('sequence' in head && 'hash' in head)) return undefined;
    const { sequence, hash } = head;
    if (typeof sequence !== 'number' || !Number.isSafeInteger(sequence)) return undefined;
    return typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash) ? { sequence, hash } : undefined;
  } catch {
    return undefined;
  }
}
