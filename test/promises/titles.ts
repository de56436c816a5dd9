/** Which test files hold which promise, by the titles of their tests. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

const TITLE = /\b(?:describe|it|itAsRoot)\(\s*(['"`])((?:\\.|(?!\1)[\s\S])*)\1/g;
const PROMISE = /\bP(\d+)\b/g;

/** @returns for each promise number named in a title, the test files that name it, sorted */
export function filesByPromise(root: string): Map<number, string[]> {
  const found = new Map<number, Set<string>>();
  for (const file of testFiles(join(root, 'test'))) {
    const path = relative(root, file);
    for (const [, , title = ''] of readFileSync(file, 'utf8').matchAll(TITLE)) {
      for (const [, number] of title.matchAll(PROMISE)) {
        const files = found.get(Number(number)) ?? new Set();
        found.set(Number(number), files.add(path));
      }
    }
  }
  return new Map([...found].map(([number, files]) => [number, [...files].sort()]));
}

function testFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(directory, name));
}
