import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { lock } from '../../../lab/kernel/lock.ts';
import { CONFIG, cacheDirectory, PATCHES } from '../../../lab/kernel/recipe.ts';
import { compareVersions, pickVersion } from '../../../lab/kernel/source.ts';
import { tool } from '../../../lab/kernel/tool.ts';
import { isAlive } from '../../../lab/process.ts';

const { signal } = new AbortController();

describe('lab kernel build', () => {
  it('prefers a kernel that was tried, and else takes the newest', () => {
    const packages = ['linux-source', 'linux-source-7.2', 'linux-source-7.10', 'linux-source-7.3'];
    assert.equal(pickVersion(packages), '7.2');
    assert.equal(pickVersion(packages.filter((name) => !name.endsWith('7.2'))), '7.10');
    assert.equal(pickVersion(['linux-source', 'linux-source-6.8.0']), '6.8.0');
    assert.equal(pickVersion(['linux-source', 'linux-source-tools']), undefined);
  });

  it('orders versions by number', () => {
    const sorted = ['6.12', '7', '6.1', '6.8.1', '6.8.0'].sort(compareVersions);
    assert.deepEqual(sorted, ['6.1', '6.8.0', '6.8.1', '6.12', '7']);
  });

  it('caches outside the project, and only for this configuration and these patches', () => {
    const before = process.env['XDG_CACHE_HOME'];
    process.env['XDG_CACHE_HOME'] = '/somewhere';
    try {
      assert.match(cacheDirectory(), /^\/somewhere\/icvpn\/lab\/[0-9a-f]{16}$/);
    } finally {
      if (before === undefined) delete process.env['XDG_CACHE_HOME'];
      else process.env['XDG_CACHE_HOME'] = before;
    }
    assert.ok(PATCHES.length > 0);
  });

  it('has a configuration without a line twice', async () => {
    const lines = (await readFile(CONFIG, 'utf8')).split('\n');
    const options = lines.filter((line) => line !== '' && !line.startsWith('#'));
    for (const line of options) assert.match(line, /^CONFIG_[A-Z0-9_]+=(y|\d+|-1|".*")$/);
    assert.equal(new Set(options.map((line) => line.split('=')[0])).size, options.length);
  });

  it('lets one build in at a time', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'icvpn-lock-'));
    try {
      const file = join(directory, 'lock');
      const order: string[] = [];
      const first = await lock(file, signal);
      const second = lock(file, signal).then((held) => {
        order.push('second');
        return held;
      });
      await assert.rejects(lock(file, AbortSignal.timeout(50)), { name: 'AbortError' });
      order.push('first lets go');
      await first[Symbol.asyncDispose]();
      await (await second)[Symbol.asyncDispose]();
      assert.deepEqual(order, ['first lets go', 'second']);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('tells what a failing tool said, and ends all of one that is given up', async () => {
    const fails = ['sh', '-c', 'echo one; echo two >&2; exit 3'];
    await assert.rejects(tool(fails, { directory: '/' }, signal), /failed:\n(one\ntwo|two\none)$/);
    const stop = new AbortController();
    let pid = 0;
    const onLine = (line: string) => {
      pid = Number(line);
      stop.abort();
    };
    const nested = ['sh', '-c', 'sh -c "echo \\$\\$; sleep 1000"; true'];
    await assert.rejects(tool(nested, { directory: '/', onLine }, stop.signal), {
      name: 'AbortError',
    });
    while (isAlive(pid)) await setTimeout(5); // killed, but the kernel takes its time
  });
});
