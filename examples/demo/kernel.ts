/** The kernel's own word on its security associations, through `ip xfrm`. */
import type { Netns } from '../../test/lab/netns.ts';

export interface KernelSa {
  readonly src: string;
  readonly dst: string;
  readonly spi: string;
  readonly packets: number;
  readonly bytes: number;
}

/** Equivalent to `ip -s xfrm state`, without keys. */
export async function kernelSas(ns: Netns): Promise<KernelSa[]> {
  const text = await ns.run('ip', ['-s', 'xfrm', 'state', 'list', 'nokeys']);
  return text
    .split(/^(?=src )/m)
    .filter((each) => each.includes('proto esp'))
    .map((each) => {
      const find = (pattern: RegExp): string => pattern.exec(each)?.[1] ?? '';
      return {
        src: find(/^src (\S+)/),
        dst: find(/ dst (\S+)/),
        spi: find(/spi (0x[\da-f]+)/),
        packets: Number(find(/lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)/)),
        bytes: Number(find(/lifetime current:\s+(\d+)\(bytes\)/)),
      };
    });
}
