/**
 * A netlink socket to the kernel: the `netlink` package's, with extended acknowledgements, and
 * with overruns told apart from failures.
 */
import { RawNetlinkSocket } from 'netlink';
import { NetlinkError } from './errors.ts';
import {
  descriptorOf,
  dropped,
  NETLINK_CAP_ACK,
  NETLINK_EXT_ACK,
  NETLINK_GET_STRICT_CHK,
  NETLINK_NO_ENOBUFS,
  SO_RCVBUFFORCE,
  SOL_NETLINK,
  SOL_SOCKET,
  setOption,
} from './sockopt.ts';

export const NETLINK_ROUTE = 0;
export const NETLINK_XFRM = 6;
export const NETLINK_NETFILTER = 12;

export interface SocketOptions {
  readonly protocol: number;
  /** Receive buffer in bytes; beyond the system's limit only with CAP_NET_ADMIN. */
  readonly receiveBuffer: number;
  /** A datagram from the kernel; overwritten after the call, since it may hold keys. */
  readonly onDatagram: (datagram: Uint8Array) => void;
  /** The kernel threw messages away, because the receive buffer was full. */
  readonly onOverrun: () => void;
  readonly onError: (error: Error) => void;
}

export class NetlinkSocket {
  readonly #options: SocketOptions;
  readonly #socket: RawNetlinkSocket;
  readonly #fd: number;
  /** The number that the kernel knows this socket by. */
  readonly port: number;
  #drops = 0;
  #checking = false;
  #closed = false;

  /** Opens and binds. @throws NetlinkError, or the errno of socket(2) or bind(2) */
  constructor(options: SocketOptions) {
    this.#options = options;
    const { protocol, receiveBuffer } = options;
    this.#socket = new RawNetlinkSocket(protocol, {
      recvBufferSize: receiveBuffer,
      sendBufferSize: 0,
    });
    try {
      this.port = this.#socket.address().port >>> 0;
      this.#fd = descriptorOf(protocol, this.port);
      this.#configure(options);
    } catch (error) {
      this.#socket.close();
      throw error;
    }
    this.#socket.on('message', (datagram, { port }) => {
      // Only the kernel answers; another process may send to our port.
      if (port === 0) this.#receive(datagram);
      datagram.fill(0);
    });
    this.#socket.on('error', (error) => outsideNative(() => options.onError(error)));
  }

  /** Overwrites `datagram` once it is sent. */
  send(datagram: Buffer, sent: (error: Error | undefined) => void): void {
    this.#socket.send(datagram, {}, (error) => {
      datagram.fill(0);
      outsideNative(() => sent(error));
    });
  }

  /** Hears a multicast group from now on. @throws NetlinkError `ERR_NOT_ROOT`, or setsockopt(2)'s own error */
  join(group: number): void {
    try {
      this.#socket.addMembership(group);
    } catch (cause) {
      if (!(cause instanceof Error && 'code' in cause && cause.code === 'EPERM')) throw cause;
      throw new NetlinkError(
        'ERR_NOT_ROOT',
        'no permission to hear of IPsec events',
        'Run as root, or with the capability CAP_NET_ADMIN.',
        { cause },
      );
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }

  #configure({ protocol, receiveBuffer }: SocketOptions): void {
    const option = (name: number) => setOption(this.#fd, SOL_NETLINK, name, 1);
    option(NETLINK_EXT_ACK);
    option(NETLINK_CAP_ACK); // a refusal does not repeat the request, which may hold keys
    if (protocol === NETLINK_ROUTE) option(NETLINK_GET_STRICT_CHK);
    // An overrun must not become an error of the socket: poll(2) would report that as POLLERR, which
    // libuv takes for a dead descriptor, and the package's handler for that aborts the process.
    option(NETLINK_NO_ENOBUFS);
    try {
      setOption(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer);
    } catch (error) {
      // Without CAP_NET_ADMIN the smaller buffer has to do.
      if (!(error instanceof NetlinkError)) throw error;
    }
  }

  #receive(datagram: Uint8Array): void {
    outsideNative(() => this.#options.onDatagram(datagram));
    if (this.#checking) return;
    // Messages are dropped only while others wait to be read; so it is enough to look after reading.
    this.#checking = true;
    setImmediate(() => {
      this.#checking = false;
      this.#checkDrops();
    });
  }

  #checkDrops(): void {
    if (this.#closed) return;
    const drops = dropped(this.#fd);
    if (drops === this.#drops) return;
    this.#drops = drops;
    this.#options.onOverrun();
  }
}

/** An exception that reaches native code aborts the process; so what `work` throws is thrown a moment later. */
function outsideNative(work: () => void): void {
  try {
    work();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
