import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { EXIT_USAGE, LabError } from './errors.ts';

export const USAGE = `usage: node lab/main.ts [OPTION...] -- COMMAND [ARGUMENT...]

Runs COMMAND as root where the kernel has ESP, AES-GCM, xfrm interfaces, veth and netem: on this
machine's kernel if it has them, else in a User Mode Linux guest that sees this machine's files,
the current directory and the environment. What COMMAND writes to files in a guest is lost.

  --rw DIR           host directory that a guest may write to; may be given more than once
  --memory SIZE      memory of a guest, such as 512M or 2G (default 2G)
  --cpus N           CPUs of a guest, 1 to 8 (default 1, with which ESP is fastest)
  --time-limit SECS  end COMMAND after so many seconds
  --boot PARAMETER   run in a guest, with this parameter of its kernel; may be given more than once
  --console FILE     keep a guest's kernel log there
  --help             show this

Exit code: COMMAND's own; 124 after the time limit, 125 if there is no lab or it broke down,
126 or 127 if COMMAND cannot be started, 2 for a wrong option.
`;

export interface LabOptions {
  command: string[];
  /** Absolute paths. */
  writable: string[];
  /** As User Mode Linux's `mem=` wants it. */
  memory: string;
  cpus: number;
  timeLimitSeconds: number | undefined;
  consoleFile: string | undefined;
  /** Further parameters of a guest's kernel; with any, it has to be a guest. */
  boot: string[];
}

/**
 * Parses the runner's command line, without node and script.
 *
 * @returns undefined if help was asked for
 * @throws LabError ERR_LAB_USAGE that names what is wrong
 */
export function parseLabArgs(argv: readonly string[]): LabOptions | undefined {
  const dashes = argv.indexOf('--');
  const own = dashes < 0 ? argv : argv.slice(0, dashes);
  const command = dashes < 0 ? [] : argv.slice(dashes + 1);
  const values = parseOwn(own);
  if (values.help) return undefined;
  if (command.length === 0) throw usage('no command after --');
  return {
    command,
    writable: (values.rw ?? []).map(directory),
    memory: memory(values.memory ?? '2G'),
    cpus: integer('--cpus', values.cpus ?? '1', 8),
    timeLimitSeconds:
      values['time-limit'] === undefined
        ? undefined
        : integer('--time-limit', values['time-limit'], 86_400),
    consoleFile: values.console === undefined ? undefined : resolve(values.console),
    boot: (values.boot ?? []).map(bootParameter),
  };
}

function parseOwn(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: false,
      options: {
        rw: { type: 'string', multiple: true },
        memory: { type: 'string' },
        cpus: { type: 'string' },
        'time-limit': { type: 'string' },
        console: { type: 'string' },
        boot: { type: 'string', multiple: true },
        help: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error));
  }
}

function directory(value: string): string {
  // A comma would begin another mount option, a line break another directory.
  if (value === '' || /[,\n]/.test(value)) throw usage(`--rw cannot take '${value}'`);
  return resolve(value);
}

function bootParameter(value: string): string {
  if (!/^[\w.-]+(=[^\s"]*)?$/.test(value))
    throw usage(`--boot takes NAME or NAME=VALUE, not '${value}'`);
  return value;
}

function memory(value: string): string {
  const match = /^([1-9][0-9]{0,5})([MG])$/.exec(value);
  if (!match) throw usage(`--memory takes a number with M or G, not '${value}'`);
  return value;
}

function integer(option: string, value: string, largest: number): number {
  const number = /^[0-9]{1,6}$/.test(value) ? Number(value) : 0;
  if (number < 1 || number > largest) {
    throw usage(`${option} takes a whole number from 1 to ${largest}, not '${value}'`);
  }
  return number;
}

function usage(message: string): LabError {
  return new LabError('ERR_LAB_USAGE', message, 'node lab/main.ts --help', EXIT_USAGE);
}
