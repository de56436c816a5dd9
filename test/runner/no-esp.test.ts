import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatBootstrap } from '../../src/index.ts';
import { exec } from '../lab/exec.ts';
import { arrange } from '../unit/daemon/world.ts';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const LAB = path('../../lab/main.ts');
const ICVPN = path('../../dist/cli/main.js');

/** Initialisers that a kernel leaves out, as one without ESP has none of them. */
const WITHOUT_ESP = 'initcall_blacklist=esp4_init,esp6_init';

describe('a kernel without ESP', function () {
  this.timeout(120_000);

  it('icvpn up says what is missing and what to do, in one line, and ends with 1', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'icvpn-no-esp-'));
    try {
      const { service } = await arrange(join(dir, 'owner'), 1, AbortSignal.timeout(30_000));
      const bootstrap = join(dir, 'bootstrap.json');
      await writeFile(bootstrap, formatBootstrap(service.bootstrap));
      const state = join(dir, 'state');
      const up = [
        'up',
        '--foreground',
        '--state',
        state,
        '--bootstrap',
        bootstrap,
        '--vmid',
        'i-1',
      ];
      const lab = [LAB, '--rw', dir, '--boot', WITHOUT_ESP, '--', process.execPath, ICVPN, ...up];
      const { code, stdout, stderr } = await exec(process.execPath, lab, { timeoutMs: 100_000 });
      const said = stderr.split('\n').filter((line) => !line.startsWith('icvpn lab:'));
      assert.match(said.join('\n'), /^icvpn: this kernel has no ESP: Load the modules esp4, .*\n$/);
      assert.equal(stdout, '');
      assert.equal(code, 1);
      assert.ok(
        (await readdir(dir)).includes('bootstrap.json'),
        'the bootstrap data is still there',
      );
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
