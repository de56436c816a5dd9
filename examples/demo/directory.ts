/** The directory for the demo's files, which hold secrets: made anew, and always removed. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive } from '../../lab/process.ts';

const PREFIX = 'icvpn-demo-';

/** @returns a new directory, named after this process; those of demos that were killed are removed */
export async function makeDirectory(): Promise<string> {
  for (const name of await readdir(tmpdir())) {
    const owner = name.startsWith(PREFIX) ? Number.parseInt(name.slice(PREFIX.length), 10) : 0;
    if (owner > 0 && !isAlive(owner)) await rm(join(tmpdir(), name), { recursive: true });
  }
  return mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`));
}
