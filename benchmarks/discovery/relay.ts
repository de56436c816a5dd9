/** A TCP relay that delays: a stand-in for distance. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface Relay extends AsyncDisposable {
  readonly port: number;
}

/**
 * Passes everything on to a port of this machine; the way back takes `rtt` milliseconds longer, so that
 * a round trip is that much longer and bandwidth stays as it is.
 */
export async function relayTo(port: number, rtt: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect({ port, host: '127.0.0.1' });
    for (const each of [near, far]) {
      sockets.add(each.setNoDelay());
      each.on('error', () => undefined);
      each.on('close', () => {
        sockets.delete(each);
        near.destroy();
        far.destroy();
      });
    }
    near.on('data', (chunk) => far.write(chunk));
    far.on('data', (chunk) => setTimeout(() => near.write(chunk), rtt));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      for (const each of sockets) each.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
