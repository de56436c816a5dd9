import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';

// A guest's virtual CPU and the processes that it runs must share one host CPU: unpinned, each
// system call in the guest costs two wake-ups across CPUs, and everything is ten times slower.

/** The CPUs that this process may use. */
export function allowedCpus(): number[] {
  const status = readFileSync('/proc/self/status', 'utf8');
  return parseCpuList(/^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? '0');
}

/** Parses the kernel's notation for sets of CPUs, such as `0-3,8`. */
export function parseCpuList(list: string): number[] {
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/**
 * Picks up to `count` CPUs for a guest, those with the fewest other guests first, at random among
 * equals.
 *
 * @param taken the CPUs of the other guests, with repetition
 */
export function pickCpus(allowed: readonly number[], taken: readonly number[], count: number) {
  const load = (cpu: number) => taken.filter((other) => other === cpu).length;
  return allowed
    .map((cpu) => ({ cpu, load: load(cpu), tie: randomInt(2 ** 32) }))
    .sort((a, b) => a.load - b.load || a.tie - b.tie)
    .slice(0, count)
    .map(({ cpu }) => cpu);
}
