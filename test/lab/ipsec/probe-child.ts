import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

// TCP, to find out what passes.
//   `listen ADDRESS PORT...`  says `ready`; says for each line who asked, after $NAME if that is set
//   `ask ADDRESS PORT`        for each line on stdin, a number of milliseconds, asks over one
//                             connection; says the answer, or `silence` if none came in that time, or
//                             the code of the error

const [role, address = '', ...rest] = process.argv.slice(2);
const name = process.env['NAME'] ? `${process.env['NAME']} ` : '';
const say = (line: string) => process.stdout.write(`${line}\n`);

if (role === 'listen') {
  const servers = rest.map((port) => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      const asker = (socket.remoteAddress ?? '').replace('::ffff:', '');
      socket.on('data', () => socket.write(`${name}${asker}\n`));
    });
    const listening = Promise.withResolvers<void>();
    server.listen(Number(port), address, listening.resolve);
    return listening.promise;
  });
  await Promise.all(servers);
  say('ready');
} else {
  const [port] = rest;
  const socket = connect({ host: address, port: Number(port) }).setEncoding('utf8');
  const broken = new Promise<string>((resolve) => {
    socket.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
  });
  for await (const line of createInterface({ input: process.stdin })) {
    socket.write(`${line}\n`);
    const answer = new Promise<string>((resolve) =>
      socket.once('data', (text) => resolve(String(text).trimEnd())),
    );
    const silence = new Promise<string>((resolve) => setTimeout(resolve, Number(line), 'silence'));
    say(await Promise.race([answer, broken, silence]));
  }
  socket.destroy();
}
