/** Medians of wall-clock and processor time. */
import { median, round } from '../statistics.ts';

/** Wall and processor time of one operation, in milliseconds. */
export interface Measured {
  readonly n: number;
  /** Median of the wall-clock time. */
  readonly wall: number;
  /** Median of the processor time of this process: what counts on a machine that others use too. */
  readonly cpu: number;
}

/** Runs `work` n times after five runs that do not count. */
export async function measure(n: number, work: () => Promise<void> | void): Promise<Measured> {
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let i = -5; i < n; i += 1) {
    const before = process.cpuUsage();
    const start = performance.now();
    await work();
    const took = performance.now() - start;
    const { user, system } = process.cpuUsage(before);
    if (i < 0) continue;
    wall.push(took);
    cpu.push((user + system) / 1000);
  }
  return { n, wall: round(median(wall), 3), cpu: round(median(cpu), 3) };
}
