/** Bounded reading and growing writing of bytes: the ground under the codecs. */

/** Reads front to back. Never reads past the end; `fail` makes the error of the format being read. */
export class ByteReader {
  #bytes: Uint8Array;
  #at = 0;
  #fail: (reason: string) => Error;

  constructor(bytes: Uint8Array, fail: (reason: string) => Error) {
    // A Buffer's own slice() would not copy, and its owner may overwrite it.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fail = fail;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** @returns a copy of the next `length` bytes, so that the caller may keep it or overwrite it */
  take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw this.#fail('ends too early');
    const taken = this.#bytes.slice(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }

  /** A base-128 varint, least significant group first; refused when over-long or above 2^53-1. */
  varint(): number {
    let value = 0;
    for (let shift = 0; ; shift++) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw this.#fail('ends too early');
      this.#at++;
      value += (byte & 0x7f) * 2 ** (7 * shift);
      if (value > Number.MAX_SAFE_INTEGER || shift > 7) throw this.#fail('varint above 2^53-1');
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw this.#fail('varint longer than needed');
        return value;
      }
    }
  }
}

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
