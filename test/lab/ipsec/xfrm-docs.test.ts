import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNetns } from '../netns.ts';

const XFRM = new URL('../../../src/ipsec/xfrm/index.ts', import.meta.url).href;

describe('docs/xfrm.md', () => {
  it('its examples run', async () => {
    const text = await readFile(new URL('../../../docs/xfrm.md', import.meta.url), 'utf8');
    const examples = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code ?? '');
    assert.ok(examples.length >= 3);
    const folder = await mkdtemp(join(tmpdir(), 'icvpn-docs-'));
    try {
      for (const [i, code] of examples.entries()) {
        const file = join(folder, `${i}.ts`);
        await writeFile(file, code.replaceAll('icvpn/xfrm', XFRM));
        await using ns = await createNetns('docs');
        await ns.run(process.execPath, [file]);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('names every call of the client', async () => {
    const text = await readFile(new URL('../../../docs/xfrm.md', import.meta.url), 'utf8');
    const { XfrmClient } = await import(XFRM);
    const calls = Object.getOwnPropertyNames(XfrmClient.prototype);
    for (const call of calls.filter((name) => !['constructor', 'close'].includes(name))) {
      assert.ok(text.includes(`\`${call}\``), call);
    }
  });
});
