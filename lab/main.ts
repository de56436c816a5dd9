import { constants } from 'node:os';
import { parseLabArgs, USAGE } from './args.ts';
import { LabError } from './errors.ts';
import { runInLab } from './lab.ts';

// The command line of the lab: signals, messages and exit codes. What it does is in lab.ts.

async function main(): Promise<number> {
  const options = parseLabArgs(process.argv.slice(2));
  if (!options) {
    process.stdout.write(USAGE);
    return 0;
  }
  const stop = new AbortController();
  let stoppedBy: NodeJS.Signals | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGPIPE'] as const) {
    process.on(signal, () => {
      stoppedBy ??= signal;
      stop.abort();
    });
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', () => {
      stoppedBy ??= 'SIGPIPE'; // nobody reads what the command prints any more
      stop.abort();
    });
  }
  try {
    return await runInLab(options, stop.signal);
  } catch (error) {
    if (stoppedBy === undefined) throw error;
    return 128 + constants.signals[stoppedBy];
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof LabError)) throw error;
  process.stderr.write(`icvpn lab: ${error.message}; ${error.remedy}\n`);
  process.exitCode = error.exitCode;
}
