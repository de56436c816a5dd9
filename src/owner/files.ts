/** Files that people carry between machines: cards, descriptors, bootstrap data. */
import { readFile, writeFile } from 'node:fs/promises';
import { type Bootstrap, formatBootstrap, parseBootstrap } from '../records/bootstrap.ts';

/** @throws BootstrapError, or the file system's error */
export async function readBootstrap(path: string): Promise<Bootstrap> {
  return parseBootstrap(await readFile(path, 'utf8'));
}

/** Writes bootstrap data for its owner's eyes only. @throws when the file exists */
export async function writeBootstrap(path: string, data: Bootstrap): Promise<void> {
  await writeFile(path, formatBootstrap(data), { mode: 0o600, flag: 'wx' });
}
