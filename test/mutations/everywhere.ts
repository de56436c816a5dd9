/** Parsers, policies, logs. */
import type { Mutation } from './mutation.ts';

export const EVERYWHERE_MUTATIONS: readonly Mutation[] = [
  {
    promise: 'P22',
    title: 'unknown fields of a policy are ignored',
    file: 'src/policy/fields.ts',
    find: 'if (known.includes(name)) continue;',
    replace: 'if (known.length > 0) continue;',
    tests: ['test/unit/policy/document.test.ts'],
  },
  {
    promise: 'P23',
    title: 'the cache takes one entry for another',
    file: 'src/keymgmt/cache/secure-cache.ts',
    find: 'concat([HEADER_TEXT, Uint8Array.of(FORMAT_VERSION), new TextEncoder().encode(name)]);',
    replace:
      'concat([HEADER_TEXT, Uint8Array.of(FORMAT_VERSION), new TextEncoder().encode(name.slice(0, 0))]);',
    tests: ['test/unit/cache/secure-cache.test.ts'],
  },
  {
    promise: 'P23',
    title: 'the cache is readable for others',
    file: 'src/keymgmt/cache/secure-cache.ts',
    find: 'await privateDirectory(dir);',
    replace: 'await (await import("node:fs/promises")).mkdir(dir, { recursive: true });',
    tests: ['test/unit/cache/secure-cache.test.ts'],
  },
];
