/** Packets through the tunnel that mean nothing to anybody: they show that it works, and where this end is. */
import { createSocket, type Socket } from 'node:dgram';

/** RFC 863. Who listens there throws away what comes; nobody does, and the peer's kernel says so. */
const DISCARD_PORT = 9;
const NOTHING = Uint8Array.of(0);

export class Toucher implements Disposable {
  readonly #socket: Socket;
  #closed = false;

  /** @param ipv4 the virtual address of this node */
  constructor(ipv4: string) {
    this.#socket = createSocket('udp4');
    // Not heard and not waited for: a packet that is lost is what a check looks for.
    this.#socket.on('error', () => {});
    this.#socket.bind({ address: ipv4, port: 0 });
    this.#socket.unref();
  }

  /** @param ipv4 the virtual address of a peer that has an SA */
  touch(ipv4: string): void {
    if (!this.#closed) this.#socket.send(NOTHING, DISCARD_PORT, ipv4, () => {});
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#socket.close();
  }
}
