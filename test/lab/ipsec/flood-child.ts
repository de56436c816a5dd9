import { createSocket } from 'node:dgram';
import { once } from 'node:events';

// Sends datagrams to an address every 2 ms from a socket of its own, whatever happens, until it is killed. Says a line
// for each 50 that it has tried to send.

const [, , source = '', destination = ''] = process.argv;
const socket = createSocket(source.includes(':') ? 'udp6' : 'udp4');
socket.on('error', () => {});
socket.bind(0, source);
await once(socket, 'listening');
socket.connect(9, destination);
await once(socket, 'connect');
let tried = 0;
setInterval(() => {
  socket.send('clear', () => {}); // what goes wrong is not of interest: the next one is tried
  if (++tried % 50 === 0) process.stdout.write(`${tried}\n`);
}, 2);
