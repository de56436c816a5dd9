/** Pings by virtual address. */
import type { Netns } from '../../test/lab/netns.ts';

export interface PingResult {
  readonly from: string;
  readonly to: string;
  readonly address: string;
  readonly sent: number;
  readonly received: number;
  /** Average round trip, milliseconds; null when nothing came back. */
  readonly averageMs: number | null;
}

export interface PingOptions {
  readonly count: number;
  /** 16 bytes that each packet carries, over and over. */
  readonly mark: string;
}

/** `count` pings, after at most 20 that only bring the pair's security associations up. */
export async function ping(ns: Netns, address: string, options: PingOptions) {
  const pattern = ['-p', Buffer.from(options.mark).toString('hex')];
  await untilAnswered(ns, address, AbortSignal.timeout(60_000));
  const args = ['-n', '-q', '-i', '0.2', '-W', '2', '-c', String(options.count), ...pattern];
  const { stdout } = await ns.exec('ping', [...args, address]);
  const counts = /(\d+) packets transmitted, (\d+) received/.exec(stdout);
  const average = /= [\d.]+\/([\d.]+)\//.exec(stdout)?.[1];
  return {
    sent: Number(counts?.[1] ?? options.count),
    received: Number(counts?.[2] ?? 0),
    averageMs: average === undefined ? null : Number(average),
  };
}

/** Pings until an answer comes. */
export async function untilAnswered(ns: Netns, address: string, limit: AbortSignal): Promise<void> {
  for (;;) {
    limit.throwIfAborted();
    const { code } = await ns.exec('ping', ['-n', '-q', '-c', '1', '-W', '1', address]);
    if (code === 0) return;
  }
}
