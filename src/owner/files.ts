/** Files that people carry between machines: bootstrap data. */
import { readFile } from 'node:fs/promises';
import { isTicket } from '../admission/ticket.ts';
import { createFile } from '../files/atomic.ts';
import {
  type Bootstrap,
  BootstrapError,
  formatBootstrap,
  parseBootstrap,
} from '../records/bootstrap.ts';
import type { OutsideFile } from './directory.ts';
import { OwnerError } from './errors.ts';

/** @throws BootstrapError, or the file system's error */
export async function readBootstrap(path: string): Promise<Bootstrap> {
  return parseBootstrap(await readFile(path, 'utf8'));
}

/** Writes bootstrap data for its owner's eyes only. @throws OwnerError `ERR_FILE_EXISTS`, FileError */
export async function writeBootstrap(path: string, data: Bootstrap): Promise<void> {
  if (await createFile(path, encoded(data))) return;
  throw new OwnerError('ERR_FILE_EXISTS', `${path} exists already`, 'choose another name');
}

/** A file that an act makes, where none may be. */
export function newBootstrap(path: string, data: Bootstrap): OutsideFile {
  return { path, bytes: encoded(data), replace: false };
}

/**
 * A file that an act makes or replaces: only older bootstrap data of the same service is replaced.
 *
 * @throws OwnerError `ERR_FILE_EXISTS` when something else is there
 */
export async function replacedBootstrap(path: string, data: Bootstrap): Promise<OutsideFile> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text !== undefined && !isOlder(text, data)) {
    throw new OwnerError(
      'ERR_FILE_EXISTS',
      `${path} exists already and is no bootstrap data of ${data.name}`,
      'choose another name',
    );
  }
  return { path, bytes: encoded(data), replace: text !== undefined };
}

function isOlder(text: string, { serviceId }: Bootstrap): boolean {
  try {
    const there = parseBootstrap(text);
    return there.serviceId.equals(serviceId) && !isTicket(there.secret);
  } catch (error) {
    if (error instanceof BootstrapError) return false;
    throw error;
  }
}

const encoded = (data: Bootstrap): Uint8Array => new TextEncoder().encode(formatBootstrap(data));
