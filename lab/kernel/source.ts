import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { LabError } from '../errors.ts';
import { type Archive, configuredAddresses, PrivateApt } from './apt.ts';
import type { Progress } from './progress.ts';
import { tool } from './tool.ts';

// Where kernel source comes from: the distribution's `linux-source-N.N` packages, signed, from the
// archive that this machine is configured with.
//
// 1. Debian's rolling suites, for a kernel of 7.x: several CPUs, the fast way to catch system calls
//    and, with our patch, near-native ciphers. They hold one or two versions at a time, so which
//    one cannot be fixed here.
// 2. The distribution's own release: older and slower, but it stays.

/** Kernels that were built and booted by this recipe. */
const TRIED = ['7.2'];
const DEBIAN_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const ROLLING_SUITES = ['forky', 'trixie-backports', 'sid'];
const PREFIX = 'linux-source-';

export interface KernelSource {
  directory: string;
  /** As `7.2`. */
  version: string;
}

/**
 * Gets and unpacks kernel source below `directory`.
 *
 * @throws LabError ERR_LAB_NO_KERNEL with what was tried
 */
export async function getSource(
  directory: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<KernelSource> {
  const failures: string[] = [];
  for (const { name, archive } of await places(signal)) {
    const work = join(directory, 'apt');
    try {
      progress.step(`package lists of ${name}`);
      await mkdir(work);
      const apt = await PrivateApt.open(work, archive, signal);
      const version = pickVersion(await apt.packages(PREFIX));
      if (version === undefined) throw new Error(`no package ${PREFIX}*`);
      progress.step(`downloading ${PREFIX}${version}`);
      const file = await apt.download(`${PREFIX}${version}`);
      progress.step(`unpacking ${basename(file)}`);
      return { directory: await unpack(file, directory, signal), version };
    } catch (error) {
      signal.throwIfAborted();
      failures.push(`${name}: ${error instanceof Error ? error.message : error}`);
      progress.note(`not from there: ${failures.at(-1)}`);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
  throw new LabError(
    'ERR_LAB_NO_KERNEL',
    `no kernel source to be had: ${failures.join('; ')}`,
    'check the sources in /etc/apt, or set ICVPN_LAB_KERNEL to a User Mode Linux kernel',
  );
}

/** The tried version if it is among the packages, else the newest that there is. */
export function pickVersion(packages: readonly string[]): string | undefined {
  const versions = packages
    .map((name) => name.slice(PREFIX.length))
    .filter((version) => /^\d+\.\d+(\.\d+)?$/.test(version))
    .sort(compareVersions);
  return TRIED.find((version) => versions.includes(version)) ?? versions.at(-1);
}

/** Negative if `a` is the older of two versions such as `6.1` and `6.12`. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

async function places(
  signal: AbortSignal,
): Promise<{ name: string; archive: Archive | undefined }[]> {
  const own = { name: "this machine's own suites", archive: undefined };
  if (!existsSync(DEBIAN_KEYRING)) return [own];
  const addresses = await configuredAddresses(signal);
  const archive = { addresses, suites: ROLLING_SUITES, keyring: DEBIAN_KEYRING };
  return [{ name: "Debian's rolling suites", archive }, own];
}

/** The package holds one compressed tar file, at a place that differs between distributions. */
async function unpack(file: string, directory: string, signal: AbortSignal): Promise<string> {
  const source = join(directory, 'source');
  await mkdir(source);
  const script = `
    dpkg-deb --fsys-tarfile "$1" | tar -x --wildcards -C "$2" './usr/src/linux-source-*.tar.*'
    tarball=$(find "$2/usr/src" -name 'linux-source-*.tar.*')
    tar -xf "$tarball" --strip-components=1 -C "$2"
    rm -r "$2/usr/src"`;
  await tool(
    ['bash', '-euo', 'pipefail', '-c', script, 'unpack', file, source],
    { directory },
    signal,
  );
  return source;
}
