import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

// Two steady streams, to be watched while something happens to their way.
//
//   listen ADDRESS   says `ready`, then `TICK` after every ten datagrams; once both streams have
//                    ended, `{"datagrams": how many different ones came, "bytes": how many by TCP}`
//   send ADDRESS     sends a numbered datagram and 4 KiB by TCP every 4 ms until SIGTERM, then how
//                    many of each it sent, in the same form
//
// The last datagram is sent again until the listener has ended the connection: all of TCP has come
// by then, and the end of the other stream is known without its having to be lost or found.

const PORT = 9000;
const CHUNK = Buffer.alloc(4096);
const INTERVAL_MS = 4;
const [role, address = ''] = process.argv.slice(2);
const say = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`);
const family = address.includes(':') ? 'udp6' : 'udp4';

function listen(): void {
  const numbers = new Set<number>();
  let last = Number.NaN;
  let bytes = 0;
  const server = createServer({ allowHalfOpen: true }, (stream) => {
    stream.on('data', (data) => {
      bytes += data.length;
    });
    const udp = createSocket(family).bind(PORT, address, () => stream.write('go'));
    const end = (): void => {
      say({ datagrams: numbers.size, bytes });
      stream.end();
      udp.close();
      server.close();
    };
    stream.on('end', () => {
      if (numbers.has(last)) end();
      else udp.on('message', () => numbers.has(last) && end());
    });
    udp.on('message', (message) => {
      const number = Math.abs(message.readInt32BE());
      if (message.readInt32BE() < 0) last = number;
      if (!numbers.has(number) && numbers.size % 10 === 9) say('TICK');
      numbers.add(number);
    });
  });
  server.listen(PORT, address, () => say('ready'));
}

async function send(): Promise<void> {
  const stream = connect(PORT, address);
  let ended = false;
  stream.on('end', () => {
    ended = true;
  });
  await new Promise((resolve) => stream.once('data', resolve));
  const udp = createSocket(family);
  const datagram = (number: number): Promise<void> => {
    const message = Buffer.alloc(512);
    message.writeInt32BE(number);
    return new Promise((resolve, reject) => {
      udp.send(message, PORT, address, (error) => (error ? reject(error) : resolve()));
    });
  };
  let stop = false;
  process.on('SIGTERM', () => {
    stop = true;
  });
  let sent = 0;
  for (; !stop; sent++) {
    await datagram(sent + 1);
    stream.write(CHUNK);
    await delay(INTERVAL_MS);
  }
  stream.end();
  // Negative: this was the last.
  while (!ended) {
    await datagram(-sent);
    await delay(INTERVAL_MS);
  }
  say({ datagrams: sent, bytes: sent * CHUNK.length });
  udp.close();
}

if (role === 'listen') listen();
else await send();
