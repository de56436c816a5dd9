import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { run } from '../lab/exec.ts';
import { TestProcess } from '../lab/process.ts';

const DEMO = fileURLToPath(new URL('../../examples/demo/main.ts', import.meta.url));

const startDemo = () => new TestProcess(process.execPath, [DEMO]);

/** What of a demo is left: namespaces, which it names after its process, its directory, its daemons. */
async function leftovers({ pid }: TestProcess): Promise<string[]> {
  const own = (prefix: string) => (text: string) => text.includes(`${prefix}-${pid}-`);
  const namespaces = (await run('ip', ['netns', 'list'])).split('\n').filter(own('icvpn-test'));
  const files = (await readdir(tmpdir())).filter(own('icvpn-demo'));
  const processes = (await run('ps', ['-eo', 'args'])).split('\n').filter(own('icvpn-demo'));
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

  it('leaves nothing when it is stopped by Ctrl-C half way', async () => {
    await using demo = startDemo();
    await lines(demo, /^Three VMs/);
    process.kill(demo.pid, 'SIGINT');
    assert.equal(await demo.ended(), 1);
    assert.match(demo.stderr, /demo: stopped by SIGINT/);
    assert.deepEqual(await leftovers(demo), []);
  });

  it('P17 brings three VMs together over ESP with no packet in clear, leaves nothing, also after an interrupted run', async () => {
    await using killed = startDemo();
    await lines(killed, /^Three VMs/);
    await killed[Symbol.asyncDispose]();
    assert.notDeepEqual(await leftovers(killed), []);
    await using demo = startDemo();
    const text = (await lines(demo, /^(All of it held|\d+ claims did not hold)\.$/)).join('\n');
    assert.equal(await demo.ended(), 0, text + demo.stderr);
    assert.match(text, /\n {2}0 packets in clear, 0 with the text/);
    assert.equal(text.match(/ 5 of 5 /g)?.length, 12, text);
    assert.deepEqual(await leftovers(demo), []);
    assert.deepEqual(await leftovers(killed), []);
  });
});
