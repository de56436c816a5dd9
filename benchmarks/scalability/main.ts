/**
 * Runs benchmarks, one after the other, each a program of its own:
 *
 *   npm run --silent benchmark             all; without --silent npm prints two lines before the JSON
 *   npm run benchmark -- admission flood   those whose names begin so
 *   npm run benchmark -- --list            the names
 *
 * Standard output is JSON: `{ machine, benchmarks: [{ name, seconds, report }] }`, where the report
 * is what the program printed. Standard error has a short table of each. Exit code 1 when one failed.
 */
import { spawn } from 'node:child_process';
import { Console } from 'node:console';
import { once } from 'node:events';
import { cpus, loadavg, totalmem } from 'node:os';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { BENCHMARKS, type Benchmark } from './benchmarks.ts';

/** Milliseconds that one benchmark may take. */
const TIME_LIMIT = 10 * 60_000;

async function run({ name, program, args }: Benchmark) {
  const path = fileURLToPath(new URL(`../${program}`, import.meta.url));
  const begin = performance.now();
  const load = loadavg()[0];
  const child = spawn(process.execPath, [path, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: TIME_LIMIT,
  });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  const seconds = Math.round((performance.now() - begin) / 100) / 10;
  if (code !== 0) return { name, seconds, load, failure: `it ended with ${code}` };
  const report = JSON.parse(output);
  console.error(`\n${name} (${seconds} s)`);
  const table = new Console({ stdout: process.stderr });
  table.table(report.results ?? [report]);
  return { name, seconds, load, report };
}

const wanted = process.argv.slice(2);
if (wanted[0] === '--list') {
  for (const { name, what } of BENCHMARKS) console.log(`${name.padEnd(22)}${what}`);
  process.exit();
}
const unknown = wanted.filter((each) => !BENCHMARKS.some(({ name }) => name.startsWith(each)));
if (unknown.length > 0) {
  console.error(`no benchmark begins with ${unknown.join(', ')}; --list shows their names`);
  process.exit(2);
}
const chosen = BENCHMARKS.filter(
  ({ name }) => wanted.length === 0 || wanted.some((each) => name.startsWith(each)),
);
const benchmarks = [];
for (const benchmark of chosen) benchmarks.push(await run(benchmark));
const [processor] = cpus();
const machine = {
  node: process.version,
  processor: processor?.model,
  processors: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
};
console.log(JSON.stringify({ machine, benchmarks }, undefined, 2));
if (benchmarks.some(({ failure }) => failure !== undefined)) process.exitCode = 1;
