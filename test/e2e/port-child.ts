/**
 * TCP ports, as services and their clients use them.
 *
 *   `listen PORT …`  answers each connection with what it sends; says `"ready"` once
 *   `connect`        for each line `{ host, port, limitMs }` whether a connection opens and answers
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const [role, ...ports] = process.argv.slice(2);
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

interface Question {
  readonly host: string;
  readonly port: number;
  readonly limitMs: number;
  /** Uses the connection of this name, and keeps it. */
  readonly keep?: string;
}

const kept = new Map<string, Socket>();

async function answers({ host, port, limitMs, keep }: Question): Promise<boolean> {
  const signal = AbortSignal.timeout(limitMs);
  const known = keep === undefined ? undefined : kept.get(keep);
  const socket = known ?? connect({ host, port });
  socket.on('error', () => {});
  try {
    if (known === undefined) await once(socket, 'connect', { signal });
    if (keep !== undefined) kept.set(keep, socket);
    socket.write('?');
    await once(socket, 'data', { signal });
    return true;
  } catch {
    return false;
  } finally {
    if (keep === undefined) socket.destroy();
  }
}

if (role === 'listen') {
  for (const port of ports) {
    const server = createServer((socket) => socket.on('error', () => {}).pipe(socket));
    server.listen(Number(port), '::');
    await once(server, 'listening');
  }
  say('ready');
} else {
  for await (const line of createInterface({ input: process.stdin })) {
    say(await answers(JSON.parse(line)));
  }
}
