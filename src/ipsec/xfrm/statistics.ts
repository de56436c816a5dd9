/** /proc/net/xfrm_stat: what the kernel dropped, and why (Documentation/networking/xfrm_proc.rst). */
import { readFile } from 'node:fs/promises';
import { MalformedError, NetlinkError } from '../netlink/errors.ts';

/** The file has some thirty lines. */
const MAX_LINES = 256;

/** Counters by the kernel's names, e.g. `XfrmInNoStates`. */
export type XfrmStatistics = ReadonlyMap<string, bigint>;

/** @throws MalformedError unless each line is a name and a number. */
export function parseStatistics(text: string): XfrmStatistics {
  const lines = text.split('\n').filter((line) => line !== '');
  if (lines.length > MAX_LINES) throw new MalformedError('xfrm_stat has too many lines');
  return new Map(
    lines.map((line) => {
      const [, name, value] = /^(Xfrm[A-Za-z0-9]{1,40})\s+(\d{1,20})$/.exec(line) ?? [];
      if (name === undefined || value === undefined) throw new MalformedError('line of xfrm_stat');
      return [name, BigInt(value)];
    }),
  );
}

/**
 * Of the network namespace that the process is in. Equivalent to: `cat /proc/net/xfrm_stat`
 *
 * @throws NetlinkError `ERR_XFRM_NO_STATISTICS` if the kernel keeps none.
 */
export async function readStatistics(call: { signal?: AbortSignal } = {}): Promise<XfrmStatistics> {
  try {
    return parseStatistics(
      await readFile('/proc/self/net/xfrm_stat', { ...call, encoding: 'utf8' }),
    );
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    throw new NetlinkError(
      'ERR_XFRM_NO_STATISTICS',
      'this kernel keeps no IPsec statistics',
      'Use a kernel built with CONFIG_XFRM_STATISTICS.',
      { cause: error },
    );
  }
}
