/** How long SAs take to install: by the library, and by `ip -batch`. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { XfrmClient } from '../../src/ipsec/xfrm/client.ts';
import { XfrmKey } from '../../src/ipsec/xfrm/key.ts';
import type { StateSpec } from '../../src/ipsec/xfrm/state.ts';
import { inside } from '../../test/lab/ipsec/inside.ts';
import type { Netns } from '../../test/lab/netns.ts';

const ENDS = ['192.0.2.1', '192.0.2.2'] as const;
const FIRST_SPI = 0x10000;

function pairs(count: number): StateSpec[] {
  return Array.from({ length: 2 * count }, (_, n) => {
    const [source, destination] = n % 2 === 0 ? ENDS : ENDS.toReversed();
    const key = XfrmKey.of(randomBytes(32), randomBytes(4));
    return {
      ...{ source: source ?? '', destination: destination ?? '', spi: FIRST_SPI + n },
      ...{ mode: 'tunnel', reqid: 1 + (n >> 1), replay: { window: 1024, esn: true } },
      aead: { name: 'rfc4106(gcm(aes))', key, icvBits: 128 },
    };
  });
}

const line = ({ source, destination, spi, reqid }: StateSpec): string => {
  const cipher = `aead rfc4106(gcm(aes)) 0x${randomBytes(36).toString('hex')} 128`;
  const id = `src ${source} dst ${destination} proto esp spi ${spi} reqid ${reqid}`;
  return `xfrm state add ${id} mode tunnel ${cipher} replay-window 1024 flag esn\n`;
};

/** @returns milliseconds to install `count` pairs of SAs, in a namespace that has none */
export async function installTimes(
  ns: Netns,
  dir: string,
  count: number,
): Promise<{ icvpn: number; ipBatch: number }> {
  const specs = pairs(count);
  using client = inside(ns, () => new XfrmClient());
  await client.flushStates();
  let begin = performance.now();
  const failures = await client.addStates(specs);
  const icvpn = performance.now() - begin;
  if (failures.length > 0) throw failures[0]?.error;
  await client.flushStates();
  const file = join(dir, 'batch');
  await writeFile(file, specs.map(line).join(''));
  begin = performance.now();
  await ns.run('ip', ['-batch', file]);
  const ipBatch = performance.now() - begin;
  const { states } = await client.stateCounts();
  if (states !== specs.length) throw new Error(`${states} states, not ${specs.length}`);
  await client.flushStates();
  return { icvpn, ipBatch };
}
