import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type { Cleanup } from './harness.ts';

/** Somebody who takes connections and says nothing. */
export async function blackHole(
  cleanup: Cleanup,
): Promise<{ multiaddr: string; met: Promise<Socket> }> {
  const server = cleanup.add(createServer());
  const met = once(server, 'connection').then(([socket]: Socket[]) => {
    assert.ok(socket);
    return cleanup.add({ close: () => socket.destroy(), socket }).socket;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return { multiaddr: `/ip4/127.0.0.1/tcp/${address.port}`, met };
}
