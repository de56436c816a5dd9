/**
 * One write to the socket for all that a turn of the event loop sends.
 *
 * libp2p sends small pieces: a message of Yamux in Noise is up to five, each with a system call and a
 * TCP segment of its own, and a turn sends several messages (an answer, window updates).
 */
import { Socket } from 'node:net';
import type { ConnectionEncrypter, MessageStream } from '@libp2p/interface';

type Encrypter<Components> = (components: Components) => ConnectionEncrypter;

/** The same encrypter, on connections whose sockets are corked during each turn that sends. */
export function corked<Components>(make: Encrypter<Components>): Encrypter<Components> {
  return (components) => {
    const encrypter = make(components);
    return {
      protocol: encrypter.protocol,
      secureInbound: (connection, options) => encrypter.secureInbound(cork(connection), options),
      secureOutbound: (connection, options) => encrypter.secureOutbound(cork(connection), options),
    };
  };
}

function cork<Connection extends MessageStream>(connection: Connection): Connection {
  const socket = 'socket' in connection ? connection.socket : undefined;
  if (!(socket instanceof Socket)) return connection;
  const send = connection.send.bind(connection);
  let waiting = false;
  connection.send = (data) => {
    if (!waiting) {
      waiting = true;
      socket.cork();
      process.nextTick(() => {
        waiting = false;
        socket.uncork();
      });
    }
    return send(data);
  };
  return connection;
}
