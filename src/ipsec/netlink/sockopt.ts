/**
 * The options of a netlink socket that the `netlink` package does not offer. It hides its file
 * descriptor, so the descriptor is found by the socket's port in /proc; libc does the rest.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import koffi from 'koffi';
import { NetlinkError } from './errors.ts';

export const SOL_SOCKET = 1;
export const SO_RCVBUFFORCE = 33;
const SO_MEMINFO = 55;
export const SOL_NETLINK = 270;
export const NETLINK_NO_ENOBUFS = 5;
export const NETLINK_CAP_ACK = 10;
export const NETLINK_EXT_ACK = 11;
export const NETLINK_GET_STRICT_CHK = 12;

interface Libc {
  readonly set: (
    fd: number,
    level: number,
    name: number,
    value: Int32Array,
    size: number,
  ) => number;
  readonly get: (
    fd: number,
    level: number,
    name: number,
    value: Uint32Array,
    size: Uint32Array,
  ) => number;
}
let loaded: Libc | undefined;

function libc(): Libc {
  if (loaded === undefined) {
    const library = koffi.load(null);
    const set = 'int setsockopt(int fd, int level, int name, const void *value, uint32 size)';
    const get = 'int getsockopt(int fd, int level, int name, void *value, void *size)';
    loaded = { set: library.func(set), get: library.func(get) };
  }
  return loaded;
}

/** @throws NetlinkError `ERR_NETLINK_OPTION` */
export function setOption(fd: number, level: number, name: number, value: number): void {
  if (libc().set(fd, level, name, new Int32Array([value]), 4) !== 0) throw refused(name);
}

/** SK_MEMINFO_DROPS, the last of the nine numbers of SO_MEMINFO (linux/sock_diag.h). */
const MEMINFO_COUNT = 9;

/** How many messages the kernel has thrown away for want of room. @throws NetlinkError `ERR_NETLINK_OPTION` */
export function dropped(fd: number): number {
  const values = new Uint32Array(MEMINFO_COUNT);
  const size = new Uint32Array([values.byteLength]);
  if (libc().get(fd, SOL_SOCKET, SO_MEMINFO, values, size) !== 0) throw refused(SO_MEMINFO);
  return values[MEMINFO_COUNT - 1] ?? 0;
}

function refused(name: number): NetlinkError {
  return new NetlinkError(
    'ERR_NETLINK_OPTION',
    `cannot use option ${name} of a netlink socket (errno ${koffi.errno()})`,
    'Use Linux 4.20 or newer.',
  );
}

/** The descriptor of this process's netlink socket of `protocol` that is bound to `port`. @throws NetlinkError */
export function descriptorOf(protocol: number, port: number): number {
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
