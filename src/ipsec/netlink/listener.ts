/**
 * A netlink socket that hears multicast groups. What the socket's buffer cannot hold the kernel
 * throws away and says so (ENOBUFS): the listener is told `overrun` and must read the state anew.
 */
import type { RawNetlinkSocket } from 'netlink';
import { MalformedError } from './errors.ts';
import { decodeMessages, type Message } from './framing.ts';
import { openSocket } from './socket.ts';

export interface ListenerOptions {
  readonly protocol: number;
  readonly groups: readonly number[];
  /** Receive buffer in bytes, 1 MiB if not given: what the kernel keeps for a busy listener. */
  readonly receiveBuffer?: number | undefined;
  /** A message; its body is overwritten after the call. */
  readonly onMessage: (message: Message) => void;
  /** Messages were lost. */
  readonly onOverrun: () => void;
  /** The socket failed for good, or the kernel sent what cannot be read. */
  readonly onError: (error: Error) => void;
}

export class NetlinkListener {
  readonly #socket: RawNetlinkSocket;
  #closed = false;

  constructor(options: ListenerOptions) {
    const { protocol, groups, receiveBuffer = 1 << 20 } = options;
    this.#socket = openSocket({ protocol, receiveBuffer });
    this.#socket.on('message', (datagram, { port }) => {
      if (port === 0) deliver(datagram, options);
    });
    this.#socket.on('error', (error) => {
      if (error.code === 'ENOBUFS') options.onOverrun();
      else options.onError(error);
    });
    try {
      for (const group of groups) this.#socket.addMembership(group);
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }
}

function deliver(datagram: Buffer, { onMessage, onError }: ListenerOptions): void {
  try {
    for (const message of decodeMessages(datagram)) onMessage(message);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    onError(error);
  } finally {
    datagram.fill(0);
  }
}
