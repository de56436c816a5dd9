import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  encodeAttributeKey,
  encrypt,
  generateKey,
  initAbe,
  setup,
} from '../../../src/keymgmt/abe/index.ts';

describe('docs/abe.md', () => {
  it('its examples run', async () => {
    const text = await readFile(new URL('../../../docs/abe.md', import.meta.url), 'utf8');
    const examples = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code ?? '');
    assert.ok(examples.length >= 3);
    const folder = await mkdtemp(join(tmpdir(), 'icvpn-docs-'));
    const abe = new URL('../../../src/keymgmt/abe/index.ts', import.meta.url).href;
    try {
      for (const [i, code] of examples.entries()) {
        const file = join(folder, `${i}.ts`);
        await writeFile(file, code.replaceAll('icvpn/abe', abe));
        await import(pathToFileURL(file).href);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('the sizes it states', async () => {
    await initAbe();
    const { publicKey, masterKey } = setup();
    const key = encodeAttributeKey(generateKey(masterKey, { a: '1', b: '1', c: '1' }));
    // Each label stands in the attributes and with its part.
    assert.equal(key.length, 3197 + 2 * 3);
    const ciphertext = encrypt(publicKey, 'a: 1 and b: 1', new Uint8Array(32));
    assert.equal(ciphertext.length, 2727 + 4);
  });
});
