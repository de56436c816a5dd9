/** Median of repeated runs, with work before and after each that does not count. */
import { performance } from 'node:perf_hooks';

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
  return { n, p50: quantile(wall, 0.5), p90: quantile(wall, 0.9), cpu: quantile(cpu, 0.5) };
}

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = Math.min(sorted.length - 1, Math.floor(sorted.length * q));
  return Number((sorted[at] ?? Number.NaN).toFixed(2));
}
