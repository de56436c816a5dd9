#!/usr/bin/env node
// Nothing may be imported here that an older Node cannot load: it must live to say what is wrong.
const NODE_NEEDED = 24;

if (Number.parseInt(process.versions.node, 10) < NODE_NEEDED) {
  process.stderr.write(
    `icvpn: this is Node ${process.versions.node}, which lacks ML-KEM: run icvpn with Node ${NODE_NEEDED} or newer\n`,
  );
  process.exitCode = 1;
} else {
  const { processOutput } = await import('./output.ts');
  const { runCli } = await import('./program.ts');
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
  // A daemon listens for it, too, and goes on.
  process.on('SIGHUP', () => {
    if (process.listenerCount('SIGHUP') === 1) stop.abort();
  });
  // Such as a pipe that nobody reads any more.
  process.stdout.on('error', (error) => {
    processOutput.err(`icvpn: cannot write the output: ${error.message}: see where it goes\n`);
    process.exitCode = 1;
    stop.abort();
  });
  process.exitCode = await runCli(process.argv.slice(2), {
    output: processOutput,
    signal: stop.signal,
  });
  leaveAtLast();
}

/** Whatever still holds the process after its command has ended would hold it for ever. */
function leaveAtLast() {
  setTimeout(() => {
    if (process.stdout.writableLength > 0) leaveAtLast();
    else process.exit();
  }, 10_000).unref();
}
