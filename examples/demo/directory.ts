/** The directory for the demo's files, which hold secrets: made anew, and always removed. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive } from '../../lab/process.ts';
import { sweepNetns } from '../../test/lab/netns.ts';

const PREFIX = 'icvpn-demo-';

/**
 * @returns a new directory, named after this process; those of demos that were killed are removed, and their
 * namespaces first, with the daemons in them, which go on writing
 */
export async function makeDirectory(): Promise<string> {
  await sweepNetns();
  for (const name of await readdir(tmpdir())) {
    const owner = name.startsWith(PREFIX) ? Number.parseInt(name.slice(PREFIX.length), 10) : 0;
    if (owner > 0 && !isAlive(owner)) {
      await rm(join(tmpdir(), name), { recursive: true, maxRetries: 5, retryDelay: 50 });
    }
  }
  return mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`));
}
