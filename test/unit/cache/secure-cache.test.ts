import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmod,
  chown,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { CacheError, type CacheFault } from '../../../src/keymgmt/cache/errors.ts';
import { MAX_ENTRY_LENGTH, SecureCache } from '../../../src/keymgmt/cache/secure-cache.ts';

const text = (words: string): Uint8Array => new TextEncoder().encode(words);
const fault =
  (expected: CacheFault, mentions = /./) =>
  (error: unknown) =>
    error instanceof CacheError &&
    error.fault === expected &&
    error.code === `ERR_CACHE_${expected.toUpperCase()}` &&
    error.remedy !== '' &&
    mentions.test(error.message);

describe('secure cache', () => {
  let root: string;
  let dir: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'icvpn-cache-'));
    dir = join(root, 'cache');
  });
  afterEach(() => rm(root, { recursive: true }));

  const filled = async (options?: { keyFile: string }): Promise<void> => {
    const cache = await SecureCache.open(dir, options);
    await cache.put('node-key', text('something secret'));
    await cache.close();
  };

  it('gives back what was put, also after it was opened again', async () => {
    await filled();
    const cache = await SecureCache.open(dir);
    assert.deepEqual(await cache.get('node-key'), text('something secret'));
    assert.equal(await cache.get('other'), undefined);
    await cache.put('empty', new Uint8Array());
    await cache.put('node-key', text('new'));
    assert.deepEqual(await cache.names(), ['empty', 'node-key']);
    await cache.delete('empty');
    await cache.delete('empty');
    assert.deepEqual(await cache.names(), ['node-key']);
    assert.deepEqual(await cache.get('node-key'), text('new'));
    await cache.close();
    await cache.close();
  });

  it('keeps the last of several writes to one entry', async () => {
    const cache = await SecureCache.open(dir);
    const values = Array.from({ length: 20 }, (_, n) => text(`value ${n}`));
    await Promise.all(values.map((value) => cache.put('entry', value)));
    assert.deepEqual(await cache.get('entry'), values.at(-1));
    await cache.close();
  });

  it('P23 writes secrets only encrypted, into files of mode 0600 in a directory of mode 0700', async () => {
    await filled();
    assert.equal((await stat(dir)).mode & 0o777, 0o700);
    const files = await readdir(dir);
    assert.deepEqual(files.sort(), ['.header', '.key', 'node-key.entry']);
    for (const file of files) {
      const path = join(dir, file);
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      assert.equal((await readFile(path)).includes('something secret'), false);
    }
  });

  it('refuses directories and files that others can get at', async () => {
    await filled();
    await chmod(dir, 0o750);
    await assert.rejects(SecureCache.open(dir), fault('permissions', /mode 0750/));
    await chmod(dir, 0o700);
    for (const file of ['.key', '.header']) {
      await chmod(join(dir, file), 0o640);
      await assert.rejects(SecureCache.open(dir), fault('permissions', /mode 0640/));
      await chmod(join(dir, file), 0o600);
    }
    const cache = await SecureCache.open(dir);
    await chmod(join(dir, 'node-key.entry'), 0o604);
    await assert.rejects(cache.get('node-key'), fault('permissions', /mode 0604/));
    await cache.close();
  });

  const itAsRoot = process.geteuid?.() === 0 ? it : () => undefined;
  itAsRoot('refuses what belongs to another user', async () => {
    await filled();
    await chown(join(dir, '.key'), 12345, 0);
    await assert.rejects(SecureCache.open(dir), fault('permissions', /uid 12345/));
    await chown(join(dir, '.key'), 0, 0);
    await chown(dir, 12345, 0);
    await assert.rejects(SecureCache.open(dir), fault('permissions', /uid 12345/));
  });

  it('refuses links and files in the place of a directory', async () => {
    await filled();
    await symlink(dir, join(root, 'link'));
    await assert.rejects(SecureCache.open(join(root, 'link')), fault('permissions'));
    await rename(join(dir, 'node-key.entry'), join(root, 'elsewhere'));
    await symlink(join(root, 'elsewhere'), join(dir, 'node-key.entry'));
    const cache = await SecureCache.open(dir);
    await assert.rejects(cache.get('node-key'), fault('permissions', /symbolic link/));
    await cache.close();
    await assert.rejects(SecureCache.open(join(root, 'elsewhere')), fault('io'));
  });

  it('notices an entry that was altered, cut, or put in the place of another', async () => {
    await filled();
    const cache = await SecureCache.open(dir);
    const path = join(dir, 'node-key.entry');
    const whole = await readFile(path);
    for (let at = 0; at < whole.length; at++) {
      const altered = Buffer.from(whole);
      altered.writeUInt8(altered.readUInt8(at) ^ 1, at);
      await writeFile(path, altered);
      await assert.rejects(cache.get('node-key'), fault('corrupt'));
      await writeFile(path, whole.subarray(0, at));
      await assert.rejects(cache.get('node-key'), fault('corrupt'));
    }
    await writeFile(join(dir, 'other.entry'), whole, { mode: 0o600 });
    await assert.rejects(cache.get('other'), fault('corrupt'));
    await cache.close();
  });

  it('P24 survives any bytes as an entry', async () => {
    const cache = await SecureCache.open(dir);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (bytes) => {
        await writeFile(join(dir, 'x.entry'), bytes, { mode: 0o600 });
        await assert.rejects(cache.get('x'), fault('corrupt'));
      }),
    );
    await cache.close();
  });

  it('takes an operator key, and says so when another one is given', async () => {
    const keyFile = join(root, 'key');
    await writeFile(keyFile, randomBytes(32), { mode: 0o400 });
    await filled({ keyFile });
    assert.deepEqual((await readdir(dir)).sort(), ['.header', 'node-key.entry']);
    const cache = await SecureCache.open(dir, { keyFile });
    assert.deepEqual(await cache.get('node-key'), text('something secret'));
    await cache.close();

    const other = join(root, 'other');
    await writeFile(other, randomBytes(32), { mode: 0o400 });
    await assert.rejects(SecureCache.open(dir, { keyFile: other }), fault('key', /other/));
    await assert.rejects(SecureCache.open(dir), fault('key', /\.key is missing/));
    await assert.rejects(
      SecureCache.open(dir, { keyFile: join(root, 'none') }),
      fault('key', /does not exist/),
    );
    await writeFile(join(root, 'short'), 'hunter2', { mode: 0o400 });
    await assert.rejects(
      SecureCache.open(dir, { keyFile: join(root, 'short') }),
      fault('key', /7 bytes/),
    );
    await chmod(keyFile, 0o444);
    await assert.rejects(SecureCache.open(dir, { keyFile }), fault('permissions', /0444/));
  });

  it('does not begin anew where the header or the key is gone', async () => {
    await filled();
    await rename(join(dir, '.header'), join(root, 'header'));
    await assert.rejects(SecureCache.open(dir), fault('corrupt', /\.header is missing/));
    await rename(join(root, 'header'), join(dir, '.header'));
    await rm(join(dir, '.key'));
    await assert.rejects(SecureCache.open(dir), fault('key', /\.key is missing/));
  });

  it('refuses names that are paths, entries without bound, and use after close', async () => {
    const cache = await SecureCache.open(dir);
    for (const name of ['', '.', '..', '../x', 'a/b', '.key', 'a\0b', 'x'.repeat(129), 'ü']) {
      await assert.rejects(cache.put(name, text('x')), fault('name'));
      await assert.rejects(cache.get(name), fault('name'));
      await assert.rejects(cache.delete(name), fault('name'));
    }
    await assert.rejects(cache.put('x', new Uint8Array(MAX_ENTRY_LENGTH + 1)), fault('size'));
    await cache.close();
    await assert.rejects(cache.put('x', text('x')), fault('closed'));
    await assert.rejects(cache.get('x'), fault('closed'));
    await assert.rejects(cache.names(), fault('closed'));
  });

  it('removes what a crashed writer left, and not what another writes now', async () => {
    await filled();
    await writeFile(join(dir, '.icvpn-tmp-old'), 'x');
    await utimes(join(dir, '.icvpn-tmp-old'), 1, 1);
    await writeFile(join(dir, '.icvpn-tmp-new'), 'x');
    await (await SecureCache.open(dir)).close();
    const files = await readdir(dir);
    assert.equal(files.includes('.icvpn-tmp-old'), false);
    assert.equal(files.includes('.icvpn-tmp-new'), true);
  });

  it('survives SIGKILL at any instant with the old entry or the new one', async () => {
    const writer = `
      const { SecureCache } = await import(${JSON.stringify(
        new URL('../../../src/keymgmt/cache/secure-cache.ts', import.meta.url).href,
      )});
      const cache = await SecureCache.open(process.argv[1]);
      for (let n = 0; ; n++) {
        await cache.put('entry', new Uint8Array(5000).fill(n % 256));
        process.stdout.write('.');
      }`;
    for (let round = 0; round < 6; round++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', writer, dir], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      // The first rounds kill it wherever it is in its first writes, the others later.
      for (let seen = 0; seen <= round; seen++) await once(child.stdout, 'data');
      child.kill('SIGKILL');
      await once(child, 'exit');
      const cache = await SecureCache.open(dir);
      const entry = await cache.get('entry');
      assert.equal(entry?.length, 5000);
      assert.equal(new Set(entry).size, 1);
      await cache.close();
    }
  });
});
