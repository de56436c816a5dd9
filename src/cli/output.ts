/**
 * What the command prints: data on standard output, as text or with `--json` as JSON; one line a
 * problem on standard error.
 */
import { IcvpnError } from '../errors.ts';

/** Where a command writes; tests collect it. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
}

export const processOutput: Output = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
};

/** Prints `data` as one line of JSON, or as the text that `asText` makes of it. */
export function print<T>(
  output: Output,
  json: boolean,
  data: T,
  asText: (data: T) => string,
): void {
  output.out(json ? `${JSON.stringify(data)}\n` : `${asText(data)}\n`);
}

/** One line that says what is wrong and what to do. */
export function errorLine(error: unknown): string {
  if (error instanceof IcvpnError)
    return `icvpn: ${oneLine(error.message)}: ${error.remedy.replace(/\.$/, '')}\n`;
  const known = error instanceof Error ? systemError(error) : undefined;
  if (known !== undefined) return `icvpn: ${known}\n`;
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return `icvpn: ${oneLine(text)}: this is a defect of icvpn; please report it\n`;
}

const oneLine = (text: string): string => text.replaceAll(/\s*\n\s*/g, ' ');

/** Errors of files that a person named, in words. */
function systemError(error: Error): string | undefined {
  if (!('code' in error) || !('path' in error)) return undefined;
  const { path } = error;
  switch (error.code) {
    case 'ENOENT':
      return `${path} does not exist: check the path`;
    case 'EACCES':
    case 'EPERM':
      return `no permission for ${path}: run as root or as its owner`;
    case 'EISDIR':
      return `${path} is a directory: give a file`;
    case 'EROFS':
      return `${path} is on a file system that cannot be written: remount it, or give a --state elsewhere`;
    case 'ENOSPC':
    case 'EDQUOT':
      return `no space left for ${path}: make room on the disk`;
    case 'ENOTDIR':
      return `${path} leads through a file that is no directory: check the path`;
    case 'EEXIST':
      return `${path} exists already: choose another name`;
    default:
      return undefined;
  }
}

/** A table with aligned columns. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return all.map(line).join('\n');
}
