import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tool } from './tool.ts';

/** A Debian archive: its addresses are tried in turn, the signature on its lists is checked. */
export interface Archive {
  addresses: readonly string[];
  suites: readonly string[];
  /** File of the keys that may sign. */
  keyring: string;
}

/**
 * apt with package lists of its own in `directory`: the machine's are neither used nor changed,
 * and root is not needed.
 */
export class PrivateApt {
  readonly #directory: string;
  readonly #signal: AbortSignal;

  private constructor(directory: string, signal: AbortSignal) {
    this.#directory = directory;
    this.#signal = signal;
  }

  /**
   * Fetches the package lists.
   *
   * @param archive where from; undefined for all that the machine is configured with
   */
  static async open(
    directory: string,
    archive: Archive | undefined,
    signal: AbortSignal,
  ): Promise<PrivateApt> {
    await mkdir(join(directory, 'lists/partial'), { recursive: true });
    await mkdir(join(directory, 'cache/archives/partial'), { recursive: true });
    await mkdir(join(directory, 'parts'));
    const settings = [
      `Dir::State::lists "${directory}/lists";`,
      `Dir::Cache "${directory}/cache";`,
      'APT::Sandbox::User "";', // or apt, as root, becomes a user who may not write here
      'Acquire::Languages "none";',
      'Acquire::Check-Valid-Until "false";', // a frozen copy of an archive stays signed
    ];
    if (archive) {
      settings.push(
        'Dir::Etc::sourcelist "/dev/null";',
        `Dir::Etc::sourceparts "${directory}/parts";`,
      );
      const source = [
        'Types: deb',
        `URIs: ${archive.addresses.join(' ')}`,
        `Suites: ${archive.suites.join(' ')}`,
        'Components: main',
        `Signed-By: ${archive.keyring}`,
      ];
      await writeFile(join(directory, 'parts/archive.sources'), `${source.join('\n')}\n`);
    }
    await writeFile(join(directory, 'apt.conf'), `${settings.join('\n')}\n`);
    const apt = new PrivateApt(directory, signal);
    // It fails if any one list could not be had. Those that could may do; `packages` tells.
    await apt.#run('apt-get', '-q', 'update').catch(() => signal.throwIfAborted());
    return apt;
  }

  /** The names of the packages that begin with `prefix`. */
  async packages(prefix: string): Promise<string[]> {
    const names = await this.#run('apt-cache', 'pkgnames', prefix);
    return names.split('\n').filter(Boolean);
  }

  /** Fetches a package's file into the directory; returns its path. */
  async download(name: string): Promise<string> {
    await this.#run('apt-get', '-q', 'download', name);
    const files = await readdir(this.#directory);
    const file = files.find((entry) => entry.startsWith(`${name}_`) && entry.endsWith('.deb'));
    if (file === undefined) throw new Error(`apt-get download ${name} left no file`);
    return join(this.#directory, file);
  }

  #run(...command: string[]): Promise<string> {
    const options = {
      directory: this.#directory,
      environment: { APT_CONFIG: join(this.#directory, 'apt.conf') },
    };
    return tool(command, options, this.#signal);
  }
}

/** The addresses of the distribution's archives that this machine is configured with. */
export async function configuredAddresses(signal: AbortSignal): Promise<string[]> {
  // Without release information, so that it works before the first `apt-get update` too.
  const query = ['--no-release-info', 'Created-By: Packages', 'Component: main'];
  const command = ['apt-get', 'indextargets', '--format', '$(SITE)', ...query];
  const sites = (await tool(command, { directory: '/' }, signal)).split('\n');
  return [...new Set(sites)].filter((site) => site !== '' && !site.includes('security'));
}
