/** What passes over TCP, asked from one namespace to another; the words are those of probe-child.ts. */
import type { Netns } from '../netns.ts';
import type { TestProcess } from '../process.ts';

export const PROBE = new URL('probe-child.ts', import.meta.url);

/** Listens at all addresses of a host; answers with the host's label and the address of who asks. */
export async function listen(ns: Netns, ...ports: number[]): Promise<TestProcess> {
  const args = [process.execPath, PROBE.pathname, 'listen', '::', ...ports.map(String)];
  const child = ns.start('env', [`NAME=${ns.label}`, ...args]);
  await child.line();
  return child;
}

/** Asks over a TCP connection of its own, and waits for the answer, half a minute at most. */
export async function ask(from: Netns, address: string, port: number): Promise<string> {
  return askFor(30_000, from, address, port);
}

/** As `ask`, where nobody is to answer: waits for a second. */
export async function askInVain(from: Netns, address: string, port: number): Promise<string> {
  return askFor(1_000, from, address, port);
}

async function askFor(limitMs: number, from: Netns, address: string, port: number) {
  await using probe = from.node(PROBE, ['ask', address, String(port)]);
  probe.send(limitMs);
  return await probe.line();
}
