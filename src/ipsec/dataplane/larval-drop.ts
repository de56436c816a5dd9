/** The sysctl that decides whether packets wait for an SA: net.core.xfrm_larval_drop, of one network namespace. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';

const PATH = '/proc/sys/net/core/xfrm_larval_drop';
const [ZERO, ONE] = [0x30, 0x31];

/**
 * Turns the drop off while it is held, and back on if it was on. It is a file descriptor, so that it
 * stays with the namespace in which it was opened. Where /proc/sys may not be written nothing
 * happens: packets that find no SA are lost then, as they usually are.
 */
export class LarvalDrop implements Disposable {
  readonly #fd: number | undefined;
  readonly #changed: boolean;

  constructor() {
    this.#fd = openUnlessReadOnly();
    const was = Buffer.alloc(1);
    if (this.#fd !== undefined) readSync(this.#fd, was, 0, 1, 0);
    this.#changed = was[0] === ONE;
    if (this.#changed) this.#write(ZERO);
  }

  [Symbol.dispose](): void {
    if (this.#changed) this.#write(ONE);
    if (this.#fd !== undefined) closeSync(this.#fd);
  }

  #write(digit: number): void {
    if (this.#fd !== undefined) writeSync(this.#fd, Buffer.from([digit]), 0, 1, 0);
  }
}

function openUnlessReadOnly(): number | undefined {
  try {
    return openSync(PATH, 'r+');
  } catch {
    return undefined;
  }
}
