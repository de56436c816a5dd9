import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

// What goes into the kernel besides its source: the files beside this one.

const DIRECTORY = fileURLToPath(new URL('.', import.meta.url));

export const CONFIG = join(DIRECTORY, 'linux.config');
/** On top of {@link CONFIG} for kernels before 7. */
export const CONFIG_BEFORE_7 = join(DIRECTORY, 'before-7.config');
/** The patch whose absence costs speed, and all CPUs but one. */
export const FAST_PATCH = join(DIRECTORY, 'simd-and-pinning.patch');
/** Every patch; those that do not fit a kernel version are left out of it. */
export const PATCHES = readdirSync(DIRECTORY)
  .filter((name) => name.endsWith('.patch'))
  .sort()
  .map((name) => join(DIRECTORY, name));

/**
 * At the end of the version of a kernel built without {@link FAST_PATCH}: it does not keep its
 * virtual CPUs apart, so it is given one.
 */
export const ONE_CPU_SUFFIX = '-1cpu';

/** Where the kernel of this recipe is cached: outside the project, shared by all its copies. */
export function cacheDirectory(): string {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return join(cache, 'icvpn', 'lab', recipeHash());
}

function recipeHash(): string {
  const hash = createHash('sha256');
  for (const file of [CONFIG, CONFIG_BEFORE_7, ...PATCHES]) {
    hash.update(createHash('sha256').update(readFileSync(file)).digest());
  }
  return hash.digest('hex').slice(0, 16);
}
