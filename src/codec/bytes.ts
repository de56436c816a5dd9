/** Bounded reading and growing writing of bytes: the ground under the codecs. */

/** Reads front to back. Never reads past the end; `fail` makes the error of the format being read. */
export class ByteReader {
  #bytes: Uint8Array;
  #at = 0;
  #end: number;
  #fail: (reason: string) => Error;

  constructor(bytes: Uint8Array, fail: (reason: string) => Error) {
    // A Buffer's own slice() would not copy, and its owner may overwrite it.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#end = bytes.length;
    this.#fail = fail;
  }

  get done(): boolean {
    return this.#at === this.#end;
  }

  /** @returns where the next `length` bytes begin, which count as read */
  #skip(length: number): number {
    if (length > this.#end - this.#at) throw this.#fail('ends too early');
    this.#at += length;
    return this.#at - length;
  }

  /** @returns a copy of the next `length` bytes, so that the caller may keep it or overwrite it */
  take(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#bytes.slice(at, at + length);
  }

  /** @returns the next `length` bytes where they are, to be looked at and not kept */
  peek(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** @returns a reader of the next `length` bytes, which copies none of them */
  part(length: number): ByteReader {
    const at = this.#skip(length);
    const part = new ByteReader(this.#bytes, this.#fail);
    part.#at = at;
    part.#end = at + length;
    return part;
  }

  /** @returns a reader of the same bytes, from here on, that reads on its own */
  fork(): ByteReader {
    const fork = new ByteReader(this.#bytes, this.#fail);
    fork.#at = this.#at;
    fork.#end = this.#end;
    return fork;
  }

  /** A base-128 varint, least significant group first; refused when over-long or above 2^53-1. */
  varint(): number {
    let value = 0;
    for (let shift = 0; ; shift++) {
      const byte = this.#bytes[this.#skip(1)] ?? 0;
      value += (byte & 0x7f) * 2 ** (7 * shift);
      if (value > Number.MAX_SAFE_INTEGER || shift > 7) throw this.#fail('varint above 2^53-1');
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw this.#fail('varint longer than needed');
        return value;
      }
    }
  }
}

/** Tags and most lengths are one byte; a writer copies none of them before it ends. */
const ONE_BYTE = Array.from({ length: 0x80 }, (_, value) => Uint8Array.of(value));

/** Collects bytes, then hands them out in one piece. */
export class ByteWriter {
  #parts: Uint8Array[] = [];
  #length = 0;

  bytes(part: Uint8Array): void {
    this.#parts.push(part);
    this.#length += part.length;
  }

  /** @param value a whole number from 0 to 2^53-1 */
  varint(value: number): void {
    const only = ONE_BYTE[value];
    if (only !== undefined) {
      this.bytes(only);
      return;
    }
    const out: number[] = [];
    let rest = value;
    while (rest >= 0x80) {
      out.push((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    out.push(rest);
    this.bytes(Uint8Array.from(out));
  }

  finish(): Uint8Array {
    const whole = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}
