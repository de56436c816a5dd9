/** Median of repeated runs, with work before and after each that does not count. */
import { performance } from 'node:perf_hooks';
import { percentile, round } from '../statistics.ts';

export interface Samples {
  readonly n: number;
  /** Median and 90th percentile of wall-clock time, in milliseconds. */
  readonly p50: number;
  readonly p90: number;
  /** Median of the processor time of all threads of this process, which is both ends, in milliseconds. */
  readonly cpu: number;
}

export interface Run {
  readonly before?: () => unknown;
  /** What is measured. */
  readonly work: () => Promise<unknown>;
  readonly after?: () => unknown;
}

const WARM_UP = 3;

export async function sample(n: number, run: Run): Promise<Samples> {
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let i = -WARM_UP; i < n; i++) {
    await run.before?.();
    const used = process.cpuUsage();
    const start = performance.now();
    await run.work();
    const took = performance.now() - start;
    const { user, system } = process.cpuUsage(used);
    await run.after?.();
    if (i < 0) continue;
    wall.push(took);
    cpu.push((user + system) / 1000);
  }
  const at = (values: readonly number[], p: number) => round(percentile(values, p), 2);
  return { n, p50: at(wall, 50), p90: at(wall, 90), cpu: at(cpu, 50) };
}
