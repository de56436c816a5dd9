import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MAX_POLICY_LENGTH } from '../../../src/policy/document.ts';
import { readPolicy } from '../../../src/policy/embedded-tests.ts';

const page = await readFile(new URL('../../../docs/policy.md', import.meta.url), 'utf8');
const blocks = (language: string): string[] =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    ([, text]) => text ?? '',
  );

describe('docs/policy.md', () => {
  it('its documents can be read, and their tests hold', () => {
    const documents = blocks('json').map((text) => readPolicy(new TextEncoder().encode(text)));
    assert.equal(documents.length, 3);
    assert.equal(documents[0]?.tests.length, 4);
  });

  it('its message is the one that people see', () => {
    const [, message] = /such as `(policy, [^`]*)`/.exec(page) ?? [];
    const rule = { from: ['*'], to: ['*'], ports: ['icmp', 'tcp/0'] };
    const raw = new TextEncoder().encode(JSON.stringify({ version: 1, rules: [rule] }));
    assert.throws(() => readPolicy(raw), { message });
  });

  it('its sizes are the real ones', () => {
    assert.equal(MAX_POLICY_LENGTH, 256 * 1024);
    assert.match(page, /The limits: 256 KiB,\s+8 levels, 1,024 rules of 256 selectors/);
  });

  it('its program runs', async () => {
    const [code = ''] = blocks('ts');
    const folder = await mkdtemp(join(tmpdir(), 'icvpn-docs-'));
    const file = join(folder, 'example.ts');
    const index = new URL('../../../src/index.ts', import.meta.url).href;
    try {
      await writeFile(file, code.replace("'icvpn'", `'${index}'`));
      await import(pathToFileURL(file).href);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
