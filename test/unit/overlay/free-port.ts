import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below Linux' own range (net.ipv4.ip_local_port_range), from which every listener at port 0 and every connection gets one. */
const [LOWEST, HIGHEST] = [20_000, 32_768];

let next = randomInt(LOWEST, HIGHEST);

/** A port of 127.0.0.1 that is free, and given to nobody else: to be listened at later, or again. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = next;
    next = port + 1 < HIGHEST ? port + 1 : LOWEST;
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue; // taken
    }
    await once(server.close(), 'close');
    return port;
  }
}
