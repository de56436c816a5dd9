/**
 * A super-peer in a process of its own, which can be told to be killed at its n-th write from now on: a call that
 * changes a file or makes it durable, or a statement of SQLite's.
 *
 * ```
 * test ── fork ─▶ this file ─ {up} ─▶ test ─ {killAt: 3} ─▶ … third write: SIGKILL
 * ```
 */
import { DatabaseSync, StatementSync } from 'node:sqlite';
import { SuperPeer } from '../../../src/daemon/super-peer.ts';
import { parseBootstrap } from '../../../src/records/bootstrap.ts';
import { parsePeerId } from '../../../src/records/peer-id.ts';
import { onFileCalls } from '../files/watched-files.ts';

let left = Number.POSITIVE_INFINITY;

function write(): void {
  if (--left === 0) process.kill(process.pid, 'SIGKILL');
}

onFileCalls(write);
for (const [prototype, name] of [
  [DatabaseSync.prototype, 'exec'],
  [StatementSync.prototype, 'run'],
] as const) {
  const real: unknown = Reflect.get(prototype, name);
  if (typeof real !== 'function') throw new Error(`no ${name}`);
  Object.defineProperty(prototype, name, {
    value: function (this: unknown, ...args: unknown[]): unknown {
      write();
      return Reflect.apply(real, this, args);
    },
  });
}

const [stateDir = '', listen = '', overlay = '', service = ''] = process.argv.slice(2);
await SuperPeer.start({
  ...{ stateDir, listen: [listen], announce: [], overlay: parseBootstrap(overlay) },
  allowedServices: [parsePeerId(service)],
  log: () => undefined,
  signal: new AbortController().signal,
});
process.on('message', (at: number) => {
  left = at;
  process.send?.('armed');
});
process.send?.('up');
