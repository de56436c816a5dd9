import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';
import { nft, type RunNft } from '../../../src/ipsec/firewall/nft.ts';
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

/** Runs nft in a namespace: it starts its program before its first `await`. */
export const nftIn =
  (ns: Netns): RunNft =>
  (rules, options) =>
    inside(ns, () => nft(rules, options));

/** Of a data plane whose guard is not to be in the way: what comes behind it is to be tested alone. */
export const WITHOUT_GUARD: { readonly nft: RunNft } = { nft: async () => 0 };
