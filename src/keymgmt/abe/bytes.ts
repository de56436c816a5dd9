import { AbeArgumentError, AbeFormatError } from './errors.ts';

/** Reads little-endian lengths and what they announce, and never past the end. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  #error(message: string): AbeFormatError {
    return new AbeFormatError(`${this.#what}: ${message}`);
  }

  take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw this.#error('too short');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** An unsigned integer of `width` bytes. */
  uint(width: 1 | 2 | 4): number {
    return this.take(width).reduceRight((sum, byte) => sum * 256 + byte, 0);
  }

  /** A count from `least` to `most`. */
  count(least: number, most: number, of: string): number {
    const n = this.uint(2);
    if (n < least || n > most) throw this.#error(`${n} ${of}; ${least} to ${most} are allowed`);
    return n;
  }

  /** The bytes after a length of `width` bytes. */
  prefixed(width: 2 | 4 = 2): Uint8Array {
    return this.take(this.uint(width));
  }

  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left !== 0) throw this.#error(`${left} bytes too many`);
  }
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** `n` in `width` bytes, little endian. */
export function uint(n: number, width: 1 | 2 | 4): Uint8Array {
  if (n >= 256 ** width) throw new AbeArgumentError(`${n} does not fit ${width} bytes`);
  return Uint8Array.from({ length: width }, (_, i) => Math.floor(n / 256 ** i) % 256);
}

export function prefixed(bytes: Uint8Array, width: 2 | 4 = 2): Uint8Array {
  return concat(uint(bytes.length, width), bytes);
}
