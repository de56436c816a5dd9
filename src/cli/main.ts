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
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => stop.abort());
  }
  process.exitCode = await runCli(process.argv.slice(2), {
    output: processOutput,
    signal: stop.signal,
  });
}
