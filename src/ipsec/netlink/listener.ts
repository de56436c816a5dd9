/**
 * A netlink socket that hears multicast groups. What the socket's buffer cannot hold the kernel
 * throws away and counts: the listener is told, and must read anew what it cares for.
 */
import { MalformedError } from './errors.ts';
import { decodeMessages, type Message } from './framing.ts';
import { NetlinkSocket } from './socket.ts';

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
  readonly #socket: NetlinkSocket;

  constructor(options: ListenerOptions) {
    const { protocol, groups, receiveBuffer = 1 << 20, onOverrun, onError } = options;
    this.#socket = new NetlinkSocket({
      protocol,
      receiveBuffer,
      onDatagram: (datagram) => deliver(datagram, options),
      onOverrun,
      onError,
    });
    try {
      for (const group of groups) this.#socket.join(group);
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  close(): void {
    this.#socket.close();
  }
}

function deliver(datagram: Uint8Array, { onMessage, onError }: ListenerOptions): void {
  try {
    for (const message of decodeMessages(datagram)) onMessage(message);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    onError(error);
  }
}
