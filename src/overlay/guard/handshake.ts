/**
 * The bytes of a connection until it is encrypted and multiplexed. Pure.
 *
 * ```
 *  from the end that dials                         from the end that listens
 *  /multistream/1.0.0 /noise     at most 16 lines  /multistream/1.0.0 /noise
 *  Noise XX message 1                              Noise XX message 2
 *  Noise XX message 3            4 KiB each
 *  encrypted                     64 KiB until the connection is multiplexed
 * ```
 *
 * The end that dials cannot send more than its first streams before the other end has answered.
 * Source: https://github.com/libp2p/specs/blob/master/noise/README.md (two bytes of length).
 */
import { GuardError } from './errors.ts';
import { Negotiation } from './negotiation.ts';

const NOISE = '/noise';
/** Bytes; a message holds two keys, a signature and the names of multiplexers. */
const MAX_NOISE_MESSAGE = 4 * 1024;
const LENGTH_BYTES = 2;
const MAX_EARLY = 64 * 1024;

export class HandshakeGuard {
  #negotiation: Negotiation | undefined = new Negotiation((line) => line === NOISE);
  /** Messages of Noise that are still to come. */
  #messages: number;
  #lengthBytes = 0;
  #length = 0;
  #early = 0;

  /** @param dialled whether this end dialled the connection */
  constructor(dialled: boolean) {
    this.#messages = dialled ? 1 : 2;
  }

  /** Takes the next bytes. @throws GuardError, MessageStreamError */
  push(data: Uint8Array): void {
    let at = 0;
    if (this.#negotiation !== undefined) {
      const { chosen, end } = this.#negotiation.next(data, 0);
      at = end;
      if (chosen !== undefined) this.#negotiation = undefined;
    }
    while (at < data.length && this.#messages > 0) at = this.#noise(data, at);
    this.#early += data.length - at;
    if (this.#early > MAX_EARLY) throw new GuardError('sends before its connection is ready');
  }

  #noise(data: Uint8Array, at: number): number {
    if (this.#lengthBytes < LENGTH_BYTES) {
      this.#length = this.#length * 256 + (data[at] ?? 0);
      this.#lengthBytes++;
      if (this.#lengthBytes === LENGTH_BYTES && this.#length > MAX_NOISE_MESSAGE) {
        throw new GuardError(`announces a handshake message of ${this.#length} bytes`);
      }
      return at + 1;
    }
    const end = Math.min(data.length, at + this.#length);
    this.#length -= end - at;
    if (this.#length === 0) {
      this.#messages--;
      this.#lengthBytes = 0;
    }
    return end;
  }
}
