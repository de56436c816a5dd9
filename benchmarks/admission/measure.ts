/** The event loop under a steady load. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';

export const rounded = (value: number): number => Number(value.toPrecision(4));

/** Starts `rate` works a second for `seconds`. @returns the event loop's delay meanwhile, in ms */
export async function loopDelay(rate: number, seconds: number, work: () => Promise<unknown>) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const running: Promise<unknown>[] = [];
  const begin = performance.now();
  delay.enable();
  while (running.length < rate * seconds) {
    const due = ((performance.now() - begin) / 1000) * rate;
    while (running.length < due && running.length < rate * seconds) running.push(work());
    await setTimeout(1);
  }
  await Promise.all(running);
  delay.disable();
  const elapsed = (performance.now() - begin) / 1000;
  const ms = (nanoseconds: number): number => rounded(nanoseconds / 1e6);
  return {
    n: running.length,
    'done per second': rounded(running.length / elapsed),
    p50: ms(delay.percentile(50)),
    p99: ms(delay.percentile(99)),
    max: ms(delay.max),
  };
}
