/**
 * What the command prints: data on standard output, as text or with `--json` as JSON; one line a
 * problem on standard error.
 */
import { writeSync } from 'node:fs';
import { visible, visibleLines } from '../codec/text.ts';
import { IcvpnError } from '../errors.ts';

/** Where a command writes; tests collect it. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
}

export const processOutput: Output = {
  out: (text) => void process.stdout.write(text),
  err: (text) => {
    try {
      // process.stderr ends the process at a write that fails, so that a full disk under its log would end a daemon.
      writeSync(process.stderr.fd, text);
    } catch {
      // There is no other place to say it.
    }
  },
};

/** Prints `data` as one line of JSON, or as the text that `asText` makes of it. */
export function print<T>(
  output: Output,
  json: boolean,
  data: T,
  asText: (data: T) => string,
): void {
  // What JSON leaves unescaped, such as characters that turn the direction of writing, stands in its strings only.
  output.out(json ? `${visible(JSON.stringify(data))}\n` : `${visibleLines(asText(data))}\n`);
}

interface Told {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

/** One line that says what is wrong and what to do. */
export function errorLine(error: unknown): string {
  const { message, remedy } = told(error);
  return `icvpn: ${oneLine(message)}: ${remedy.replace(/\.$/, '')}\n`;
}

/** The same for programs, with the code that never changes. */
export function errorJson(error: unknown): string {
  return `${JSON.stringify({ error: told(error) })}\n`;
}

function told(error: unknown): Told {
  if (error instanceof IcvpnError) {
    const { code, message, remedy } = error;
    return { code, message, remedy };
  }
  if (error instanceof Error) {
    const known = systemError(error);
    if (known !== undefined) return known;
    if (error.name === 'AbortError') {
      return { code: 'ERR_STOPPED', message: 'stopped by a signal', remedy: 'run it again' };
    }
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const remedy = 'this is a defect of icvpn; please report it';
  return { code: 'ERR_INTERNAL', message, remedy };
}

const oneLine = (text: string): string => visible(text.replaceAll(/\s*\n\s*/g, ' '));

/** Errors of files, directories and addresses that a person named, in words. */
function systemError(error: Error): Told | undefined {
  const code = 'code' in error ? String(error.code) : '';
  const where =
    'path' in error ? String(error.path) : 'address' in error ? String(error.address) : '';
  const [what, remedy] = SYSTEM_ERRORS[code] ?? [];
  if (what === undefined || remedy === undefined) return undefined;
  // Writing to an open file tells the operation and not the path.
  return { code, message: where === '' ? error.message : what.replace('%', where), remedy };
}

const SYSTEM_ERRORS: Readonly<Record<string, readonly [string, string]>> = {
  ENOENT: ['% does not exist', 'check the path'],
  EACCES: ['no permission for %', 'run as root or as its owner'],
  EPERM: ['no permission for %', 'run as root or as its owner'],
  EISDIR: ['% is a directory', 'give a file'],
  ENOTDIR: ['a part of % is no directory', 'check the path'],
  EEXIST: ['% exists already', 'choose another name'],
  EROFS: ['% is on a file system that cannot be written', 'remount it, or give a path elsewhere'],
  ENOSPC: ['no space left for %', 'make room on the disk'],
  EDQUOT: ['no room in the disk quota for %', 'make room, then try again'],
  ENAMETOOLONG: ['the name % is too long', 'choose a shorter one'],
  EMFILE: ['too many open files', 'raise the limit of open files (ulimit -n)'],
  EADDRINUSE: ['% is in use by another program', 'stop that, or listen elsewhere (--listen)'],
  EADDRNOTAVAIL: ['% is no address of this machine', 'listen at one that is (--listen)'],
};

/** A table with aligned columns. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows.map((row) => row.map(visible))];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return all.map(line).join('\n');
}

/** A sequence is the time of signing in milliseconds, unless the signer's clock went back. */
export const sequenceText = (sequence: number): string =>
  sequence > 1e12 ? `of ${new Date(sequence).toISOString()}` : String(sequence);
