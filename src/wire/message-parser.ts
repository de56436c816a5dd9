/**
 * Length-prefixed messages out of bytes that come in pieces of any size. Pure.
 *
 * ```
 *  ┌─────────────────────────────┬─────────────┐
 *  │ length: unsigned varint     │ message     │ …
 *  │ shortest form, 1 to 4 bytes │ length bytes│
 *  └─────────────────────────────┴─────────────┘
 * ```
 *
 * The varint is that of protocol buffers and of multiformats/unsigned-varint, which asks for the
 * shortest form too. A wrong length is refused at its last legal byte: what follows is not looked at.
 */
import { MessageStreamError } from './errors.ts';

/** Bytes of a varint below 2^28; no protocol here has longer messages. */
const MAX_VARINT = 4;
const FIRST_CAPACITY = 1024;

export class VarintReader {
  readonly #max: number;
  readonly #longest: number;
  #value = 0;
  #length = 0;

  /** @param max the largest value taken, below 2^28 */
  constructor(max: number) {
    this.#max = max;
    this.#longest = varintLength(max);
  }

  /**
   * @param byte the next byte
   * @returns the value when `byte` is its last one
   * @throws MessageStreamError `ERR_MESSAGE_LENGTH`
   */
  push(byte: number): number | undefined {
    this.#value += (byte & 0x7f) * 2 ** (7 * this.#length);
    this.#length++;
    if (byte >= 0x80) {
      if (this.#length < this.#longest) return undefined;
      throw bad(`a length of more than ${this.#longest} bytes`);
    }
    if (byte === 0 && this.#length > 1) throw bad('a length that is not in its shortest form');
    const value = this.#value;
    if (value > this.#max) throw bad(`a message of ${value} bytes; at most ${this.#max}`);
    this.#value = 0;
    this.#length = 0;
    return value;
  }
}

export class MessageParser {
  readonly #lengths: VarintReader;
  /** The message under way; grows with what has come, whatever length was claimed. */
  #body = new Uint8Array(0);
  #filled = 0;
  /** Bytes of the message under way; undefined while its length is read. */
  #length: number | undefined;

  /** @param maxLength bytes of the longest message taken, below 2^28 */
  constructor(maxLength: number) {
    this.#lengths = new VarintReader(maxLength);
  }

  /** Bytes held of a message that is not whole. */
  get held(): number {
    return this.#body.length;
  }

  /**
   * @param data the next bytes
   * @param from where in `data` to begin
   * @returns the next message, if `data` completes one, and the position behind what was read
   * @throws MessageStreamError `ERR_MESSAGE_LENGTH`; the parser is of no use afterwards
   */
  next(data: Uint8Array, from = 0): { message: Uint8Array | undefined; end: number } {
    let at = from;
    while (this.#length === undefined && at < data.length) {
      this.#length = this.#lengths.push(data[at++] ?? 0);
    }
    if (this.#length === undefined) return { message: undefined, end: at };
    const end = Math.min(data.length, at + this.#length - this.#filled);
    this.#append(data.subarray(at, end), this.#length);
    if (this.#filled < this.#length) return { message: undefined, end };
    const whole = this.#body;
    const message = whole.length === this.#length ? whole : whole.slice(0, this.#length);
    this.#length = undefined;
    this.#body = new Uint8Array(0);
    this.#filled = 0;
    return { message, end };
  }

  #append(piece: Uint8Array, length: number): void {
    const filled = this.#filled + piece.length;
    if (filled > this.#body.length) {
      const capacity = Math.max(filled, 2 * this.#body.length, FIRST_CAPACITY);
      const body = new Uint8Array(Math.min(length, capacity));
      body.set(this.#body.subarray(0, this.#filled));
      this.#body = body;
    }
    this.#body.set(piece, this.#filled);
    this.#filled = filled;
  }
}

/** @returns the varint of `length`, in its shortest form */
export function encodeLength(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(varintLength(length));
  for (let rest = length, at = 0; at < bytes.length; at++, rest = Math.floor(rest / 128)) {
    bytes[at] = (rest & 0x7f) | (at < bytes.length - 1 ? 0x80 : 0);
  }
  return bytes;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) length++;
  if (length > MAX_VARINT) throw new RangeError(`messages are shorter than 2^28 bytes: ${value}`);
  return length;
}

function bad(what: string): MessageStreamError {
  return new MessageStreamError('ERR_MESSAGE_LENGTH', `the other end announces ${what}`);
}
