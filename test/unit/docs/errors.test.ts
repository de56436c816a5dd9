import { deepEqual, equal } from 'node:assert/strict';
import {
  EXIT_FAILURE,
  EXIT_NOT_WHOLE,
  EXIT_REVOKED,
  EXIT_USAGE,
} from '../../../src/cli/program.ts';
import { quoted, read, rows, SOURCE, section } from './pages.ts';

const page = read('docs/errors.md');

/** Every code that the source can give an error. */
function codes(): string[] {
  const found = new Set<string>();
  for (const text of SOURCE.values()) {
    for (const [code] of text.matchAll(/\bERR_[A-Z0-9_]*[A-Z0-9]\b/g)) found.add(code);
    for (const [, prefix = ''] of text.matchAll(/`(ERR_[A-Z0-9_]*_)\$\{/g)) {
      for (const fault of faults(prefix)) found.add(`${prefix}${fault.toUpperCase()}`);
    }
  }
  return [...found].sort();
}

/** The codes that are made of a prefix and a fault. */
function faults(prefix: string): string[] {
  if (prefix !== 'ERR_CACHE_') throw new Error(`${prefix} is not known to this test`);
  const text = SOURCE.get('src/keymgmt/cache/errors.ts') ?? '';
  const union = /type CacheFault = ([^;]+);/.exec(text)?.[1] ?? '';
  return [...union.matchAll(/'(\w+)'/g)].map((match) => match[1] ?? '');
}

describe('docs/errors.md', () => {
  const documented = rows(page).filter(([first]) => first?.startsWith('`ERR_'));

  it('has a line for each code of the source, and none else', () => {
    const listed = documented.flatMap(([first = '']) => quoted(first)).sort();
    deepEqual(listed, codes());
  });

  it('tells the meaning of each, and what to do', () => {
    for (const row of documented) {
      equal(row.length, 3, row.join(' | '));
      for (const cell of row) equal(cell.length > 2, true, row.join(' | '));
    }
  });

  it('has the exit codes of the command', () => {
    const listed = rows(section(page, '## Exit codes')).map(([first]) => Number(first));
    deepEqual(listed, [0, EXIT_FAILURE, EXIT_USAGE, EXIT_NOT_WHOLE, EXIT_REVOKED]);
    const program = SOURCE.get('src/cli/program.ts') ?? '';
    const special = [...program.matchAll(/code === '(ERR_\w+)'\)? (?:return|\?) (EXIT_\w+)/g)];
    const values: Record<string, number> = { EXIT_NOT_WHOLE, EXIT_REVOKED };
    for (const [exit = '', meaning = ''] of rows(section(page, '## Exit codes')).slice(3)) {
      const code = special.find(([, , name = '']) => values[name] === Number(exit))?.[1];
      deepEqual(quoted(meaning), [code]);
    }
  });

  it('has the system’s own codes that the command puts into words', () => {
    const text = SOURCE.get('src/cli/output.ts') ?? '';
    const table = text.slice(text.indexOf('const SYSTEM_ERRORS'));
    const known = [...table.matchAll(/^ {2}(E[A-Z]+): \[/gm)].map((match) => match[1] ?? '');
    const listed = section(page, '## Exit codes').match(/\bE[A-Z]{4,}\b/g) ?? [];
    deepEqual([...listed].sort(), known.sort());
    equal(known.length > 5, true);
  });
});
