/** Bits of a length in one byte of it, and in all: protocol buffers' varint, as every gated protocol has it. */
const BITS = 7;
const MAX_BITS = 49;

/** Counts the length-prefixed messages on a stream, which comes in pieces of any size. */
export class FrameCounter {
  /** Bytes that are missing of the message under way. */
  #missing = 0;
  /** Of a length of which a part has come. */
  #length = 0;
  #bits = 0;

  /** @returns how many messages begin in `data`: their length is known */
  count(data: Iterable<Uint8Array>): number {
    let begun = 0;
    for (const piece of data) {
      for (let at = 0; at < piece.length; ) {
        if (this.#missing > 0) {
          const here = Math.min(this.#missing, piece.length - at);
          this.#missing -= here;
          at += here;
        } else if (this.#lengthEnds(piece[at++] ?? 0)) {
          begun++;
        }
      }
    }
    return begun;
  }

  #lengthEnds(byte: number): boolean {
    this.#length += (byte & 0x7f) * 2 ** this.#bits;
    this.#bits += BITS;
    if ((byte & 0x80) !== 0 && this.#bits < MAX_BITS) return false;
    // Who reads the stream resets it for a length that does not end.
    this.#missing = this.#length;
    this.#length = 0;
    this.#bits = 0;
    return true;
  }
}
