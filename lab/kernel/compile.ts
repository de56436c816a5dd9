import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import type { Progress } from './progress.ts';
import { CONFIG, CONFIG_BEFORE_7, FAST_PATCH, ONE_CPU_SUFFIX, PATCHES } from './recipe.ts';
import { compareVersions, type KernelSource } from './source.ts';
import { tool } from './tool.ts';

/** Files that `make` compiles for 7.2, to tell how far it is. */
const ABOUT_FILES = 1050;

/**
 * Patches, configures and compiles.
 *
 * @returns the file of the kernel
 */
export async function compile(
  { directory, version }: KernelSource,
  progress: Progress,
  signal: AbortSignal,
): Promise<string> {
  progress.step('patching and configuring');
  const patched = await applyPatches(directory, signal);
  if (!patched.includes(FAST_PATCH)) {
    progress.note(`${basename(FAST_PATCH)} does not fit ${version}: slower ciphers, one CPU`);
  }
  await configure(directory, version, patched.includes(FAST_PATCH), signal);
  progress.step('compiling');
  let files = 0;
  const onLine = (line: string) => {
    if (/^\s+(CC|AS)\s/.test(line)) progress.at(`${++files} of about ${ABOUT_FILES} files`);
  };
  const make = ['make', 'ARCH=um', `-j${availableParallelism()}`, 'linux'];
  await tool(make, { directory, onLine }, signal);
  const kernel = join(directory, 'linux');
  await tool(['strip', kernel], { directory }, signal);
  return kernel;
}

async function applyPatches(directory: string, signal: AbortSignal): Promise<string[]> {
  const applied: string[] = [];
  for (const file of PATCHES) {
    const patch = ['patch', '--strip=1', '--forward', '--silent', `--input=${file}`];
    try {
      await tool([...patch, '--dry-run'], { directory }, signal);
    } catch {
      signal.throwIfAborted();
      continue; // made for other versions
    }
    await tool(patch, { directory }, signal);
    applied.push(file);
  }
  return applied;
}

async function configure(
  directory: string,
  version: string,
  fast: boolean,
  signal: AbortSignal,
): Promise<void> {
  const files = [CONFIG];
  if (compareVersions(version, '7') < 0) files.push(CONFIG_BEFORE_7);
  const parts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  parts.push(`CONFIG_LOCALVERSION="-icvpn${fast ? '' : ONE_CPU_SUFFIX}"\n`);
  const config = join(directory, 'icvpn.config');
  await writeFile(config, parts.join('\n'));
  await tool(
    ['make', 'ARCH=um', `KCONFIG_ALLCONFIG=${config}`, 'allnoconfig'],
    { directory },
    signal,
  );
}
