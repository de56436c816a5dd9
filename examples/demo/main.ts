/**
 * The demo: a service `shop` with three VMs in two clouds, from nothing to encrypted pings.
 *
 * Everything is the real thing: seven network namespaces, five `icvpn` processes, the kernel's ESP.
 * It exits with 0 only if every claim that it makes was seen to hold, and leaves nothing behind.
 */
import { rm } from 'node:fs/promises';
import { makeDirectory } from './directory.ts';
import type { DaemonProcess } from './node.ts';
import { report } from './report.ts';
import { runDemo } from './run.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const stopped = new Promise<never>((_, reject) => {
  for (const signal of SIGNALS) {
    process.on(signal, () => reject(new Error(`stopped by ${signal}`)));
  }
});

const owner = new AsyncDisposableStack();
const dir = await makeDirectory();
const daemons: DaemonProcess[] = [];
const run = runDemo({ dir, owner, say, daemons });
try {
  process.exitCode = report(await Promise.race([run, stopped]), say) ? 0 : 1;
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : error}\n`);
  for (const { name, process: daemon } of daemons) {
    process.stderr.write(`\nThe end of the log of ${name}:\n${daemon.stderr.slice(-3000)}`);
  }
  process.exitCode = 1;
} finally {
  // Ends what `run` waits for, so that it ends too if it had not.
  await owner.disposeAsync();
  await run.catch(() => {});
  await rm(dir, { recursive: true });
}
