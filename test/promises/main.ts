/** `npm run promises`: writes the lists of tests in docs/promises.md anew. */
import { readFileSync, writeFileSync } from 'node:fs';
import { withTests } from './page.ts';
import { filesByPromise } from './titles.ts';

const page = 'docs/promises.md';
writeFileSync(page, withTests(readFileSync(page, 'utf8'), filesByPromise(process.cwd())));
