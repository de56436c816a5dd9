/** iperf3 and ping between two namespaces. */
import type { Netns } from '../../test/lab/netns.ts';

/** @returns Mbit/s of one TCP stream to `address`, as the receiver saw it */
export async function throughput(
  from: Netns,
  to: Netns,
  address: string,
  seconds: number,
): Promise<number> {
  await using server = to.start('iperf3', ['-s', '-1', '--forceflush', '-B', address]);
  for (let line = ''; !line.includes('Server listening'); line = await server.line());
  const args = ['-c', address, '-t', String(seconds), '-J'];
  const report: unknown = JSON.parse(
    await from.run('iperf3', args, { timeoutMs: (seconds + 20) * 1000 }),
  );
  const received = within(within(report, 'end'), 'sum_received');
  return Number(within(received, 'bits_per_second')) / 1e6;
}

function within(value: unknown, name: string): unknown {
  const entry =
    typeof value === 'object' && value !== null
      ? Object.entries(value).find(([key]) => key === name)
      : undefined;
  if (entry === undefined) throw new Error(`iperf3 gave no ${name}`);
  return entry[1];
}

/** Addresses inside the tunnel. */
export interface Way {
  readonly from: string;
  readonly to: string;
}

/**
 * From an address that is given: ping would look for one by a UDP socket, which asks for the SA before the
 * first packet does.
 *
 * @returns round trips in milliseconds; the answer to a packet that waits for its SA counts from the start
 */
export async function pings(ns: Netns, { from, to }: Way, count: number): Promise<number[]> {
  const args = ['-n', '-I', from, '-i', '0.002', '-W', '5', '-c', String(count), to];
  const output = await ns.run('ping', args, { timeoutMs: 60_000 });
  return [...output.matchAll(/time=([\d.]+) ms/g)].map(([, time]) => Number(time));
}
