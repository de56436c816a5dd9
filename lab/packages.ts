import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { LabError } from './errors.ts';

/** A system package of Debian and Ubuntu. */
export interface SystemPackage {
  name: string;
  /** What shows that it is there: the name of a program, or the absolute path of a file. */
  brings: string;
  purpose: string;
}

/** What the product, its tests and the demo call. */
export const RUN_PACKAGES: readonly SystemPackage[] = [
  { name: 'iproute2', brings: 'ip', purpose: 'sets up network namespaces, links and routes' },
  { name: 'iputils-ping', brings: 'ping', purpose: 'pings' },
  { name: 'netbase', brings: '/etc/protocols', purpose: 'names protocols for ip' },
  { name: 'nftables', brings: 'nft', purpose: 'keeps plaintext from leaving' },
  { name: 'procps', brings: 'sysctl', purpose: 'sets kernel parameters, lists processes' },
  { name: 'tcpdump', brings: 'tcpdump', purpose: 'captures what is on the wire' },
];

/** What building a User Mode Linux kernel takes on top. */
export const BUILD_PACKAGES: readonly SystemPackage[] = [
  { name: 'build-essential', brings: 'g++', purpose: 'compiles the lab kernel' },
  { name: 'make', brings: 'make', purpose: 'compiles the lab kernel' },
  { name: 'flex', brings: 'flex', purpose: 'reads the kernel configuration' },
  { name: 'bison', brings: 'bison', purpose: 'reads the kernel configuration' },
  { name: 'bc', brings: 'bc', purpose: 'computes constants of the kernel' },
  { name: 'xz-utils', brings: 'xz', purpose: 'unpacks the kernel source' },
  { name: 'patch', brings: 'patch', purpose: 'patches the kernel source' },
  { name: 'perl', brings: 'perl', purpose: 'writes the assembly of the ciphers' },
];

/** Those of the packages of which `has` does not know what they bring. */
export function missingPackages(
  packages: readonly SystemPackage[],
  has: (programOrFile: string) => boolean,
): SystemPackage[] {
  return packages.filter(({ brings }) => !has(brings));
}

/**
 * Whether a file is there, given its absolute path, or a program: on the path, or where those for
 * system administration are.
 */
export function isThere(programOrFile: string): boolean {
  if (isAbsolute(programOrFile)) return existsSync(programOrFile);
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  return path.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, programOrFile), constants.X_OK);
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
  const missing = missingPackages(packages, isThere);
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name);
  const command = `apt-get install --no-install-recommends ${names.join(' ')}`;
  if (process.getuid?.() !== 0 || !isThere('apt-get')) {
    const parts = missing.map(({ brings, purpose }) => `${brings} (${purpose})`);
    throw new LabError(
      'ERR_LAB_PACKAGES',
      `this machine lacks ${parts.join(', ')}`,
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
