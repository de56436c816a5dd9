import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';
import type { Netns } from '../netns.ts';

const CLONE_NEWNET = 0x40000000;
const setns: (fd: number, kind: number) => number = koffi
  .load(null)
  .func('int setns(int fd, int nstype)');

/**
 * Runs `work` with the main thread inside a namespace and comes back. Sockets belong to the namespace
 * that they were made in, so what `work` opens before its first `await` stays there.
 */
export function inside<T>(ns: Netns, work: () => T): T {
  const home = openSync('/proc/self/ns/net', 'r');
  const there = openSync(`/run/netns/${ns.name}`, 'r');
  try {
    enter(there);
    return work();
  } finally {
    enter(home);
    closeSync(there);
    closeSync(home);
  }
}

function enter(fd: number): void {
  if (setns(fd, CLONE_NEWNET) !== 0) throw new Error(`setns: errno ${koffi.errno()}`);
}
