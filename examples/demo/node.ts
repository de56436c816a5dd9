/** The `icvpn` command of the demo: the real one, in processes and namespaces of its own. */
import { fileURLToPath } from 'node:url';
import type { Netns } from '../../test/lab/netns.ts';
import type { TestProcess } from '../../test/lab/process.ts';
import { own } from './own.ts';

const ICVPN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Runs `icvpn ARGS --json` in a namespace to its end. */
export async function icvpn(ns: Netns, ...args: string[]): Promise<unknown> {
  return JSON.parse(await ns.run(process.execPath, [ICVPN, ...args, '--json']));
}

/** A daemon in the foreground of a process of its own. */
export interface DaemonProcess {
  readonly name: string;
  readonly process: TestProcess;
  /** When it was started, in milliseconds of `performance.now()`. */
  readonly startedAt: number;
  /** Its status, once it is up. */
  readonly up: Promise<unknown>;
}

/** Starts `icvpn ARGS`, which prints its status on one line once it is up. */
export async function startDaemon(
  owner: AsyncDisposableStack,
  ns: Netns,
  ...args: string[]
): Promise<DaemonProcess> {
  const startedAt = performance.now();
  const process_ = await own(owner, ns.start(process.execPath, [ICVPN, ...args, '--json']));
  const up = process_.receive(60_000);
  up.catch(() => {}); // whoever needs it awaits it; a demo that stops early does not
  return { name: ns.label, process: process_, startedAt, up };
}

/** A text field of what a command printed. @throws when it has none */
export function textField(printed: unknown, name: string): string {
  const value = new Map(Object.entries(printed ?? {})).get(name);
  if (typeof value !== 'string') throw new Error(`icvpn printed no "${name}"`);
  return value;
}
