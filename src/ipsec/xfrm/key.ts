import { inspect } from 'node:util';

/** Largest key of an algorithm in bytes; the kernel's longest is well below. */
export const MAX_KEY_LENGTH = 512;

/** A key that does not show itself: neither `console.log` nor JSON nor a template string has its bytes. */
export class XfrmKey {
  readonly #bytes: Uint8Array;

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /**
   * A copy of `parts`, one after the other: for an AEAD the cipher key, then the salt. The caller
   * keeps and overwrites its own.
   */
  static of(...parts: readonly Uint8Array[]): XfrmKey {
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return new XfrmKey(bytes);
  }

  /** Length in bytes. */
  get length(): number {
    return this.#bytes.length;
  }

  /** The bytes themselves, not a copy. */
  expose(): Uint8Array {
    return this.#bytes;
  }

  /** Overwrites the bytes. */
  wipe(): void {
    this.#bytes.fill(0);
  }

  toString(): string {
    return `XfrmKey(${this.length} bytes)`;
  }

  toJSON(): string {
    return this.toString();
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
