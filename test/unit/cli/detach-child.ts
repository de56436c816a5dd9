/** `icvpn up` without icvpn: the command waits for a daemon that tells what it waits for until it is ended. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { reportProgress, reportStart, startDetached } from '../../../src/cli/detach.ts';

const [dir = '', ends = ''] = process.argv.slice(2);
if (process.argv.includes('--foreground')) {
  writeFileSync(join(dir, 'pid'), String(process.pid));
  process.once('SIGTERM', () => {
    writeFileSync(join(dir, 'ended'), '');
    process.exit(0);
  });
  reportProgress('waiting for nothing');
  if (ends === 'ready') reportStart({ ready: { fine: true } });
  setInterval(() => {}, 1_000);
} else {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  const onProgress = (line: string): void => void process.stdout.write(`${line}\n`);
  try {
    const ready = await startDetached(dir, [dir, ends], { signal: stop.signal, onProgress });
    process.stdout.write(`${JSON.stringify(ready)}\n`);
  } catch (error) {
    process.stdout.write(`${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  }
}
