import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { run } from '../lab/exec.ts';
import { TestProcess } from '../lab/process.ts';

const DEMO = fileURLToPath(new URL('../../examples/demo/main.ts', import.meta.url));

const startDemo = () => new TestProcess(process.execPath, [DEMO]);

/** What a demo would leave behind: namespaces, its directory, its daemons. */
async function leftovers(): Promise<string[]> {
  const namespaces = (await run('ip', ['netns', 'list'])).split('\n').filter(Boolean);
  const files = (await readdir(tmpdir())).filter((name) => name.startsWith('icvpn-demo-'));
  const processes = (await run('ps', ['-eo', 'args']))
    .split('\n')
    .filter((line) => line.includes('dist/cli/main.js'));
  return [...namespaces, ...files, ...processes];
}

async function lines(demo: TestProcess, until: RegExp): Promise<string[]> {
  const seen: string[] = [];
  for (;;) {
    const line = await demo.line(120_000);
    seen.push(line);
    if (until.test(line)) return seen;
  }
}

describe('demo', function () {
  this.timeout(300_000);

  it('P17 brings three VMs together over ESP with no packet in clear, and leaves nothing', async () => {
    await using demo = startDemo();
    const text = (await lines(demo, /^(All of it held|\d+ claims did not hold)\.$/)).join('\n');
    assert.equal(await demo.ended(), 0, text + demo.stderr);
    assert.match(text, /\n {2}0 packets in clear, 0 with the text/);
    assert.equal(text.match(/ 5 of 5 /g)?.length, 12, text);
    assert.deepEqual(await leftovers(), []);
  });

  it('leaves nothing when it is stopped by Ctrl-C half way', async () => {
    await using demo = startDemo();
    await lines(demo, /^Three VMs/);
    process.kill(demo.pid, 'SIGINT');
    assert.equal(await demo.ended(), 1);
    assert.match(demo.stderr, /demo: stopped by SIGINT/);
    assert.deepEqual(await leftovers(), []);
  });

  it('passes also when an interrupted run left its namespaces and processes', async () => {
    {
      await using killed = startDemo();
      await lines(killed, /^Three VMs/);
    }
    assert.notDeepEqual(await leftovers(), []);
    await using demo = startDemo();
    await lines(demo, /^All of it held\.$/);
    assert.equal(await demo.ended(), 0, demo.stderr);
    assert.deepEqual(await leftovers(), []);
  });
});
