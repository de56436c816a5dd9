import { connect, createServer } from 'node:net';

// `listen ADDRESS` says `ready`, then how many bytes each connection brought; `send ADDRESS COUNT`
// sends that many.

const PORT = 9000;
const [role, address = '', count = '0'] = process.argv.slice(2);
const say = (line: string) => process.stdout.write(`${line}\n`);

if (role === 'listen') {
  const server = createServer((socket) => {
    let bytes = 0;
    socket.on('data', (data) => {
      bytes += data.length;
    });
    socket.on('end', () => say(String(bytes)));
  });
  server.listen(PORT, address, () => say('ready'));
} else {
  connect(PORT, address).end(Buffer.alloc(Number(count)));
}
