import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { LabError } from './errors.ts';

/** A system package of Debian and Ubuntu, known to be there by a program that it brings. */
export interface SystemPackage {
  name: string;
  program: string;
  purpose: string;
}

/** What the product, its tests and the demo call. */
export const RUN_PACKAGES: readonly SystemPackage[] = [
  { name: 'iproute2', program: 'ip', purpose: 'sets up network namespaces, links and routes' },
  { name: 'iputils-ping', program: 'ping', purpose: 'pings' },
  { name: 'nftables', program: 'nft', purpose: 'keeps plaintext from leaving' },
  { name: 'tcpdump', program: 'tcpdump', purpose: 'captures what is on the wire' },
];

/** What building a User Mode Linux kernel takes on top. */
export const BUILD_PACKAGES: readonly SystemPackage[] = [
  { name: 'build-essential', program: 'g++', purpose: 'compiles the lab kernel' },
  { name: 'make', program: 'make', purpose: 'compiles the lab kernel' },
  { name: 'flex', program: 'flex', purpose: 'reads the kernel configuration' },
  { name: 'bison', program: 'bison', purpose: 'reads the kernel configuration' },
  { name: 'bc', program: 'bc', purpose: 'computes constants of the kernel' },
  { name: 'xz-utils', program: 'xz', purpose: 'unpacks the kernel source' },
  { name: 'patch', program: 'patch', purpose: 'patches the kernel source' },
  { name: 'perl', program: 'perl', purpose: 'writes the assembly of the ciphers' },
];

/** Those of the packages whose program `has` does not know. */
export function missingPackages(
  packages: readonly SystemPackage[],
  has: (program: string) => boolean,
): SystemPackage[] {
  return packages.filter(({ program }) => !has(program));
}

/** Whether a program is on the path, or where system administration programs are. */
export function hasProgram(program: string): boolean {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  return path.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Sees to it that system packages are there: says which it is about to install and installs them
 * where it can (root, apt), and otherwise names them and stops.
 *
 * @throws LabError ERR_LAB_PACKAGES
 */
export async function ensurePackages(
  packages: readonly SystemPackage[],
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const missing = missingPackages(packages, hasProgram);
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name);
  const command = `apt-get install --no-install-recommends ${names.join(' ')}`;
  if (process.getuid?.() !== 0 || !hasProgram('apt-get')) {
    const programs = missing.map(({ program, purpose }) => `${program} (${purpose})`);
    throw new LabError(
      'ERR_LAB_PACKAGES',
      `this machine lacks ${programs.join(', ')}`,
      `as root on Debian or Ubuntu: ${command}`,
    );
  }
  say(`installing system packages: ${names.join(' ')}`);
  const install = ['install', '--yes', '--no-install-recommends', ...names];
  if (await aptGet(install, signal)) return;
  say('that failed; fetching the package lists and trying once more');
  if ((await aptGet(['update'], signal)) && (await aptGet(install, signal))) return;
  throw new LabError('ERR_LAB_PACKAGES', 'apt-get failed, see above', `as root: ${command}`);
}

/** Shows its errors only; what it is about to do was said before. */
async function aptGet(args: readonly string[], signal: AbortSignal): Promise<boolean> {
  signal.throwIfAborted();
  const options = ['-qq', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Dpkg::Use-Pty=0'];
  const apt = spawn('apt-get', [...options, ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  // Not to be torn out of the middle of an unpacking: at SIGINT dpkg finishes its step.
  const interrupt = () => apt.kill('SIGINT');
  signal.addEventListener('abort', interrupt);
  try {
    const [code] = await once(apt, 'close');
    signal.throwIfAborted();
    return code === 0;
  } finally {
    signal.removeEventListener('abort', interrupt);
  }
}
