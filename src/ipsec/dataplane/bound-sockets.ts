/**
 * The sockets of a network namespace that have a certain IPv6 address as their own.
 *
 * When an address goes, IPv4 refuses to send from it, and IPv6 does not: a socket that has it goes on sending, and by
 * whichever route there is then. So as long as there is such a socket the guard stays.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';
import { parseAddress } from '../xfrm/address.ts';

const TABLES = ['tcp6', 'udp6', 'udplite6', 'raw6', 'icmp6'] as const;
/** TCP_TIME_WAIT and TCP_LISTEN of linux/net/tcp_states.h: neither begins to send. */
const SILENT = ['06', '0A'];
const CHUNK_BYTES = 1 << 16;

export class BoundSockets implements Disposable {
  /** File descriptors, which stay with the namespace in which they were opened. */
  readonly #files: readonly (readonly [name: string, fd: number])[];

  constructor() {
    this.#files = TABLES.flatMap((name) => {
      try {
        return [[name, openSync(`/proc/thread-self/net/${name}`, 'r')] as const];
      } catch {
        return []; // the kernel has no such sockets
      }
    });
  }

  /** @returns how many there are. @throws ValueError unless it is an address */
  count(address: string): number {
    const wanted = kernelText(parseAddress(address, 'address').bytes);
    return this.#files
      .flatMap(([name, fd]) => rows(fd).map((fields) => ({ name, fields })))
      .filter(({ name, fields: [, local = '', , state = ''] }) => {
        return local.startsWith(`${wanted}:`) && !(name === 'tcp6' && SILENT.includes(state));
      }).length;
  }

  [Symbol.dispose](): void {
    for (const [, fd] of this.#files) closeSync(fd);
  }
}

function rows(fd: number): string[][] {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const part = Buffer.alloc(CHUNK_BYTES);
    const length = readSync(fd, part, 0, CHUNK_BYTES, at);
    if (length === 0) break;
    parts.push(part.subarray(0, length));
    at += length;
  }
  const lines = Buffer.concat(parts).toString('latin1').trim().split('\n').slice(1);
  return lines.map((line) => line.trim().split(/\s+/));
}

/** As /proc/net prints it: four words in the machine's own byte order. */
function kernelText(bytes: Uint8Array): string {
  const words = Buffer.from(bytes);
  if (endianness() === 'LE') words.swap32();
  return words.toString('hex').toUpperCase();
}
