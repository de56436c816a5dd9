import { deepEqual } from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PAGES, ROOT, read } from './pages.ts';

/** Links of a page to files of the project, each with the heading that it leads to. */
function links(page: string): { path: string; anchor: string }[] {
  const found = [...read(page).matchAll(/\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)/g)];
  return found.map(([, path = '', anchor = '']) => ({
    path: path === '' ? page : join(dirname(page), path),
    anchor,
  }));
}

/** As GitHub makes them of headings. */
const anchors = (page: string): string[] =>
  [...read(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );

/** Files and folders of the project that a page names in backquotes. */
const named = (page: string): string[] =>
  [...read(page).matchAll(/`((?:src|test|benchmarks|lab|docs|examples)\/[\w./-]*\w)`/g)].map(
    ([, path = '']) => path,
  );

describe('pages', () => {
  for (const page of PAGES) {
    it(`${page}: links lead somewhere`, () => {
      const dead = links(page).filter(
        ({ path, anchor }) =>
          !existsSync(join(ROOT, path)) ||
          (anchor !== '' && path.endsWith('.md') && !anchors(path).includes(anchor)),
      );
      deepEqual(dead, []);
    });

    it(`${page}: files that it names are there`, () => {
      const lost = named(page).filter(
        (path) => !['', '.ts'].some((end) => existsSync(join(ROOT, path + end))),
      );
      deepEqual(lost, []);
    });
  }

  it('are all led to from README.md or from a page that it leads to', () => {
    const reached = new Set(['README.md']);
    for (const page of reached) {
      for (const { path } of links(page)) if (PAGES.includes(path)) reached.add(path);
    }
    deepEqual(
      PAGES.filter((page) => !reached.has(page)),
      [],
    );
  });
});
