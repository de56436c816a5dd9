import assert from 'node:assert/strict';
import type { Netns } from '../netns.ts';

// What leaves by the underlay with a virtual address in it, as tcpdump sees it on the wire.

const CLEAR = '(net 10.90.0.0/16) or (net fd00:1::/64)';
/** Never sent but to show that the capture has come so far. */
const MARK = 'udp port 7';

export interface ClearCapture extends AsyncDisposable {
  /** Asserts that nothing has left in clear until now. */
  none(what: string): Promise<void>;
}

export async function captureClear(ns: Netns, device: string): Promise<ClearCapture> {
  const watch = ['-i', device, '-Q', 'out', '-nl', '--immediate-mode', '-Z', 'root'];
  const capture = ns.start('tcpdump', [...watch, `${CLEAR} or (${MARK})`]);
  await capture.said('listening on');
  return {
    async none(what) {
      await ns.run('bash', ['-c', 'echo > /dev/udp/192.0.2.2/7']);
      const line = await capture.line();
      assert.match(line, /192\.0\.2\.2\.7: UDP/, `${what}: in clear`);
    },
    [Symbol.asyncDispose]: () => capture[Symbol.asyncDispose](),
  };
}
