/** What the pages say and what the source says, as text: tests hold one against the other. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..', '..', '..');

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const names = (directory: string): string[] => readdirSync(join(ROOT, directory)).sort();

/** The pages for users: README.md and docs/*.md. */
export const PAGES: readonly string[] = [
  'README.md',
  ...names('docs').map((each) => `docs/${each}`),
];

/** Each file of the source, by its path, without comments. */
export const SOURCE: ReadonlyMap<string, string> = new Map(
  readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((each) => each.endsWith('.ts'))
    .sort()
    .map((each) => [`src/${each}`, withoutComments(read(`src/${each}`))]),
);

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '');
}

/** The rows of the tables of a page: their cells, trimmed, without the heads. */
export function rows(text: string): string[][] {
  const lines = text.split('\n');
  return lines
    .filter((line, i) => line.startsWith('|') && !isRule(line) && !isRule(lines[i + 1]))
    .map((line) =>
      line
        .replace(/^\|/, '')
        .replace(/\|\s*$/, '')
        .split('|')
        .map((cell) => cell.trim()),
    );
}

const isRule = (line: string | undefined): boolean => /^\|[-|\s:]+$/.test(line ?? '');

/** What stands in backquotes in a cell. */
export const quoted = (cell: string): string[] =>
  [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');

/** The part of a page under a heading, up to the next heading of that level or above. */
export function section(text: string, heading: string): string {
  const level = heading.indexOf(' ');
  const lines = text.split('\n');
  const start = lines.indexOf(heading);
  if (start < 0) throw new Error(`there is no heading "${heading}"`);
  const ends = (line: string, i: number): boolean =>
    i > start && new RegExp(`^#{1,${level}} `).test(line);
  const end = lines.findIndex(ends);
  return lines.slice(start + 1, end < 0 ? undefined : end).join('\n');
}
