/**
 * The sockets that let the kernel take ESP out of UDP (RFC 3948): datagrams to their port go to the
 * SAs, never to a reader.
 *
 *     UDP port ──► starts with SPI ≠ 0 ──► ESP, by SPI ──► SA
 *              ──► one byte 0xff        ──► NAT keepalive, dropped; sent from here too
 *              ──► four bytes 0         ──► for IKE; stays in the socket's buffer, which drops what is over
 *
 * Node's sockets cannot set UDP_ENCAP and hide their descriptor; so these are made through libc.
 */
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import koffi from 'koffi';
import { NetlinkError } from '../netlink/errors.ts';
import { be16, bytes, struct, u16 } from '../netlink/struct.ts';
import { parseAddress } from '../xfrm/address.ts';
import { AF_INET, AF_INET6 } from '../xfrm/kernel/constants.ts';

/** The port that NAT traversal has by RFC 3948. */
export const NAT_TRAVERSAL_PORT = 4500;

const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const SOL_UDP = 17;
const UDP_ENCAP = 100;
const UDP_ENCAP_ESPINUDP = 2;
const MSG_DONTWAIT = 0x40;
/** RFC 3948, section 2.3. */
const KEEPALIVE = Uint8Array.of(0xff);

/* struct sockaddr_in { sa_family_t; in_port_t; struct in_addr; char zero[8]; }; */
const sockaddrIn = struct('sockaddr_in', 16, {
  family: [0, u16],
  port: [2, be16],
  address: [4, bytes(4)],
});
/* struct sockaddr_in6 { sa_family_t; in_port_t; uint32_t flowinfo; struct in6_addr; uint32_t scope; }; */
const sockaddrIn6 = struct('sockaddr_in6', 28, {
  family: [0, u16],
  port: [2, be16],
  address: [8, bytes(16)],
});

function socketAddress(text: string, port: number): Uint8Array {
  const { family, bytes: raw } = parseAddress(text, 'address');
  return family === AF_INET
    ? sockaddrIn.encode({ family, port, address: raw.subarray(0, 4) })
    : sockaddrIn6.encode({ family, port, address: raw });
}

interface Libc {
  readonly socket: (family: number, type: number, protocol: number) => number;
  readonly bind: (fd: number, address: Uint8Array, size: number) => number;
  readonly set: (
    fd: number,
    level: number,
    name: number,
    value: Int32Array,
    size: number,
  ) => number;
  readonly send: (
    fd: number,
    data: Uint8Array,
    length: number,
    flags: number,
    address: Uint8Array,
    size: number,
  ) => number;
}
let loaded: Libc | undefined;

function libc(): Libc {
  if (loaded === undefined) {
    const library = koffi.load(null);
    loaded = {
      socket: library.func('int socket(int family, int type, int protocol)'),
      bind: library.func('int bind(int fd, const void *address, uint32 size)'),
      set: library.func(
        'int setsockopt(int fd, int level, int name, const void *value, uint32 size)',
      ),
      send: library.func(
        'long sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32 size)',
      ),
    };
  }
  return loaded;
}

/** One port of this machine, of IPv4 and of IPv6, for ESP in UDP. */
export class UdpEncapsulation implements Disposable {
  readonly port: number;
  readonly #fds: number[] = [];

  /** @throws NetlinkError `ERR_PORT_IN_USE`, `ERR_NO_UDP_ENCAPSULATION` */
  constructor(port: number) {
    this.port = port;
    try {
      this.#open(AF_INET, socketAddress('0.0.0.0', port));
      this.#open(AF_INET6, socketAddress('::', port));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Keeps the mapping of a NAT between alive (RFC 3948, section 4). Not waited for, and a full buffer
   * or a missing route loses it: the next one comes.
   */
  keepalive(remote: string, port: number): void {
    this.#send(remote, port, KEEPALIVE);
  }

  close(): void {
    for (const fd of this.#fds.splice(0)) closeSync(fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #send(remote: string, port: number, data: Uint8Array): void {
    const [ipv4, ipv6] = this.#fds;
    const fd = remote.includes(':') ? ipv6 : ipv4;
    if (fd === undefined) return; // closed
    const address = socketAddress(remote, port);
    libc().send(fd, data, data.length, MSG_DONTWAIT, address, address.length);
  }

  #open(family: number, address: Uint8Array): void {
    const { socket, bind, set } = libc();
    const fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) throw refused('open a UDP socket');
    this.#fds.push(fd);
    const option = (level: number, name: number, value: number): void => {
      if (set(fd, level, name, new Int32Array([value]), 4) !== 0)
        throw refused('take ESP from UDP');
    };
    if (family === AF_INET6) option(IPPROTO_IPV6, IPV6_V6ONLY, 1);
    option(SOL_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP);
    if (bind(fd, address, address.length) !== 0) throw refused('bind the port for ESP in UDP');
  }
}

function refused(what: string): NetlinkError {
  const errno = koffi.errno();
  if (errno === constants.errno.EADDRINUSE) {
    return new NetlinkError(
      'ERR_PORT_IN_USE',
      'the port for ESP in UDP is in use',
      'Choose another port, or stop what uses it: perhaps another IPsec daemon.',
    );
  }
  return new NetlinkError(
    'ERR_NO_UDP_ENCAPSULATION',
    `cannot ${what} (errno ${errno})`,
    'Use a kernel with ESP for IPv4 and IPv6.',
  );
}
