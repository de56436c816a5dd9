import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { LabOptions } from './args.ts';
import { chooseKernel } from './choose.ts';
import { LabError } from './errors.ts';
import { runInGuest } from './guest.ts';
import { runHere } from './here.ts';
import { ensurePackages, RUN_PACKAGES } from './packages.ts';
import { missingKernelFeatures } from './probe.ts';

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
  const choice = chooseKernel({
    inLab,
    isRoot,
    missing: isRoot && !inLab ? await missingKernelFeatures(signal) : [],
    configured: process.env['ICVPN_LAB_KERNEL'] || undefined,
    cache: '',
    isCached: false,
  });
  if (choice.where === 'here') {
    say(`${choice.why}; running on it`);
    return runHere(options, signal);
  }
  if (choice.where === 'guest after build') {
    throw new LabError(
      'ERR_LAB_NO_KERNEL',
      `${choice.why}, and no lab kernel`,
      'set ICVPN_LAB_KERNEL to the file of a User Mode Linux kernel',
    );
  }
  const version = await kernelVersion(choice.kernel, choice.source);
  say(`${choice.why}; running in User Mode Linux ${version} from ${choice.source}`);
  const { stdout, stderr } = process;
  const place = { directory: process.cwd(), environment: process.env, stdout, stderr };
  return runInGuest({ ...options, ...place, kernel: choice.kernel }, signal);
}

/** Asks a User Mode Linux kernel for its version, which also shows that it is one. */
async function kernelVersion(kernel: string, source: string): Promise<string> {
  try {
    await access(kernel, constants.X_OK);
    const { stdout } = await promisify(execFile)(kernel, ['--version'], { timeout: 10_000 });
    return stdout.trim();
  } catch (error) {
    throw new LabError(
      'ERR_LAB_NO_KERNEL',
      `${kernel} (${source}) is not a User Mode Linux kernel: ${error}`,
      source.startsWith('$') ? `correct or unset ${source.slice(1)}` : `remove ${kernel}`,
    );
  }
}

function say(line: string): void {
  process.stderr.write(`icvpn lab: ${line}\n`);
}
