/**
 * A netlink socket with the options that the `netlink` package does not offer: it hides its file
 * descriptor, so the descriptor is found by the socket's port in /proc and set through libc.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { endianness } from 'node:os';
import koffi from 'koffi';
import { RawNetlinkSocket } from 'netlink';
import { NetlinkError } from './errors.ts';

export const NETLINK_ROUTE = 0;
export const NETLINK_XFRM = 6;

const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
/** A refusal does not repeat the request, which may hold keys. */
const NETLINK_CAP_ACK = 10;
/** Refusals come with the kernel's own words. */
const NETLINK_EXT_ACK = 11;
/** Requests with unknown fields are refused, and rtnetlink dumps honour their filters. */
const NETLINK_GET_STRICT_CHK = 12;

type Setsockopt = (
  fd: number,
  level: number,
  name: number,
  value: Buffer,
  length: number,
) => number;
let libc: { readonly setsockopt: Setsockopt } | undefined;

function setOption(fd: number, level: number, name: number, value: number): void {
  libc ??= {
    setsockopt: koffi
      .load(null)
      .func('int setsockopt(int fd, int level, int name, const void *value, uint32 length)'),
  };
  const raw = Buffer.alloc(4);
  if (endianness() === 'LE') raw.writeInt32LE(value);
  else raw.writeInt32BE(value);
  const result = libc.setsockopt(fd, level, name, raw, raw.length);
  if (result !== 0) {
    throw new NetlinkError(
      'ERR_NETLINK_OPTION',
      `cannot set option ${name} of a netlink socket (errno ${koffi.errno()})`,
      'Use Linux 4.20 or newer, and run as root.',
    );
  }
}

/** The descriptor of this process's netlink socket of `protocol` that is bound to `port`. */
function descriptorOf(protocol: number, port: number): number {
  // Columns: sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
  for (const line of readFileSync('/proc/self/net/netlink', 'utf8').split('\n').slice(1)) {
    const [, eth, pid, , , , , , , inode] = line.trim().split(/\s+/);
    if (Number(eth) !== protocol || Number(pid) !== port) continue;
    for (const fd of readdirSync('/proc/self/fd')) {
      if (linkOf(fd) === `socket:[${inode}]`) return Number(fd);
    }
  }
  throw new NetlinkError(
    'ERR_NETLINK_OPTION',
    'cannot find the descriptor of a netlink socket in /proc',
    'Mount /proc.',
  );
}

function linkOf(fd: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined; // closed since it was listed
  }
}

export interface SocketOptions {
  readonly protocol: number;
  /** Receive buffer in bytes; beyond the system's limit only with CAP_NET_ADMIN. */
  readonly receiveBuffer: number;
}

/** Opens and binds. The caller closes. @throws NetlinkError, or the errno of socket(2) and bind(2). */
export function openSocket({ protocol, receiveBuffer }: SocketOptions): RawNetlinkSocket {
  const socket = new RawNetlinkSocket(protocol, {
    recvBufferSize: receiveBuffer,
    sendBufferSize: 0,
  });
  try {
    const fd = descriptorOf(protocol, socket.address().port >>> 0);
    setOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
    setOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    if (protocol === NETLINK_ROUTE) setOption(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
    // Without CAP_NET_ADMIN the smaller buffer has to do; requests will be refused anyway.
    if (process.geteuid?.() === 0) setOptionIfPermitted(fd, receiveBuffer);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

function setOptionIfPermitted(fd: number, receiveBuffer: number): void {
  try {
    setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer);
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
  }
}
