/** The sysctl that decides whether packets wait for an SA: net.core.xfrm_larval_drop, of one network namespace. */
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';

const PATH = '/proc/sys/net/core/xfrm_larval_drop';
const [ZERO, ONE] = [0x30, 0x31];

/**
 * Turns the drop off, and back on if it was on. Several services of a machine share it: the last one turns it on, also
 * for one that was killed. It is a file descriptor, so that it stays with the namespace in which it was opened.
 * Where /proc/sys may not be written nothing happens: packets that find no SA are lost then, as they usually are.
 */
export class LarvalDrop implements Disposable {
  readonly #fd: number | undefined;
  /** Whether packets wait for an SA: the drop can be turned off, or is off. */
  readonly canWait: boolean;
  #restore = false;

  constructor() {
    this.#fd = openUnlessReadOnly();
    this.canWait = this.#fd !== undefined || isOff();
  }

  /** Something of a data plane is in the kernel: if the drop is off, it was turned off by that. */
  adopt(): void {
    this.#restore = true;
  }

  turnOff(): void {
    const was = Buffer.alloc(1);
    if (this.#fd !== undefined) readSync(this.#fd, was, 0, 1, 0);
    this.#restore ||= was[0] === ONE;
    this.#write(ZERO);
  }

  /** @param shared whether another service needs it off */
  turnOn(shared: boolean): void {
    if (this.#restore && !shared) this.#write(ONE);
    this.#restore = false;
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }

  #write(digit: number): void {
    if (this.#fd !== undefined) writeSync(this.#fd, Buffer.from([digit]), 0, 1, 0);
  }
}

function isOff(): boolean {
  try {
    return readFileSync(PATH, 'latin1').trim() === '0';
  } catch {
    return false;
  }
}

function openUnlessReadOnly(): number | undefined {
  try {
    return openSync(PATH, 'r+');
  } catch {
    return undefined;
  }
}
