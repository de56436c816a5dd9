import { existsSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { LabOptions } from './args.ts';
import { chooseKernel } from './choose.ts';
import { runInGuest } from './guest.ts';
import { runHere } from './here.ts';
import { buildKernel, kernelFile } from './kernel/build.ts';
import { cacheDirectory, ONE_CPU_SUFFIX } from './kernel/recipe.ts';
import { kernelVersion } from './kernel/version.ts';
import { ensurePackages, RUN_PACKAGES } from './packages.ts';
import { missingKernelFeatures, PROBE } from './probe.ts';

/**
 * Runs a command where the kernel can do what the product needs, and says in one line where.
 *
 * @returns the command's exit code
 * @throws LabError if there is no such kernel to be had, or a guest broke down
 * @throws the reason of `signal`, when nothing of the command is left
 */
export async function runInLab(options: LabOptions, signal: AbortSignal): Promise<number> {
  const inLab = process.env['ICVPN_IN_LAB'] === '1';
  if (!inLab) await ensurePackages(RUN_PACKAGES, say, signal);
  const isRoot = process.getuid?.() === 0;
  const cache = cacheDirectory();
  const choice = chooseKernel({
    inLab,
    isRoot,
    missing: isRoot && !inLab ? await missingKernelFeatures(signal) : [],
    configured: process.env['ICVPN_LAB_KERNEL'] || undefined,
    cached: kernelFile(cache),
    isCached: existsSync(kernelFile(cache)),
    boot: options.boot.length > 0,
  });
  if (choice.where === 'here') {
    say(`${choice.why}; running on it`);
    return runHere(options, signal);
  }
  if (choice.where === 'guest after build') {
    say(`${choice.why}, and there is no lab kernel yet`);
    const check = (kernel: string) => demandFeatures(kernel, signal);
    await buildKernel({ directory: cache, check, say }, signal);
  }
  const { kernel, source } = choice;
  const version = await kernelVersion(kernel, source);
  say(`${choice.why}; running in User Mode Linux ${version} from ${source}`);
  return runInGuest(
    {
      ...options,
      kernel,
      cpus: version.endsWith(ONE_CPU_SUFFIX) ? 1 : options.cpus,
      directory: process.cwd(),
      environment: process.env,
      stdout: process.stdout,
      stderr: process.stderr,
    },
    signal,
  );
}

/** Boots a kernel and lets it be probed from inside. */
async function demandFeatures(kernel: string, signal: AbortSignal): Promise<void> {
  const stdout = new PassThrough();
  const said = text(stdout);
  const guest = {
    kernel,
    command: PROBE,
    boot: [],
    directory: '/',
    environment: process.env,
    writable: [],
    memory: '512M',
    cpus: 1,
    timeLimitSeconds: 60,
    consoleFile: undefined,
    stdout,
    stderr: new PassThrough().resume(),
  };
  const code = await runInGuest(guest, signal);
  stdout.end();
  const missing = (await said).split('\n').filter(Boolean);
  if (missing.length > 0) throw new Error(`the kernel has no ${missing.join(', no ')}`);
  if (code !== 0) throw new Error(`probing the kernel failed with exit code ${code}`);
}

function say(line: string): void {
  process.stderr.write(`icvpn lab: ${line}\n`);
}
