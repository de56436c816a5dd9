import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';

// `listen ADDRESS` says `ready`, then each datagram that comes; `send ADDRESS COUNT` sends that
// many, numbered, then says `sent`.

const PORT = 9000;
const [role, address = '', count = '0'] = process.argv.slice(2);
const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
const say = (line: string) => process.stdout.write(`${line}\n`);

if (role === 'listen') {
  socket.on('message', (message) => say(message.toString()));
  socket.bind(PORT, address, () => say('ready'));
} else {
  for (let number = 0; number < Number(count); number++) {
    await new Promise<void>((resolve, reject) => {
      socket.send(String(number), PORT, address, (error) => (error ? reject(error) : resolve()));
    });
  }
  say('sent');
  socket.close();
}
