/**
 * The lines of multistream-select that the other end sends, until a protocol is chosen. Pure.
 *
 * libp2p's own reader takes one byte at a time and looks at a length for as long as it does not end;
 * this one runs before it and refuses what no node sends.
 *
 * Source: https://github.com/multiformats/multistream-select, and its limits in
 * `@libp2p/multistream-select`: 1,024 bytes a line, so two bytes of length.
 */
import { MessageParser } from '../../wire/message-parser.ts';
import { GuardError } from './errors.ts';

const MAX_LINE = 1024;
/** Lines until a protocol is chosen: the header, and proposals that were answered `na`. */
const MAX_LINES = 16;
const HEADER = '/multistream/1.0.0';
const NOT_AVAILABLE = 'na';

export class Negotiation {
  readonly #chooses: (protocol: string) => boolean;
  readonly #lines = new MessageParser(MAX_LINE);
  #count = 0;

  /** @param chooses whether a line that is no part of the negotiation itself ends it */
  constructor(chooses: (protocol: string) => boolean) {
    this.#chooses = chooses;
  }

  /**
   * @param data the next bytes
   * @param from where in `data` to begin
   * @returns the protocol when it is chosen, and the position behind what was read
   * @throws GuardError, MessageStreamError
   */
  next(data: Uint8Array, from: number): { chosen: string | undefined; end: number } {
    for (let at = from; at < data.length; ) {
      const { message, end } = this.#lines.next(data, at);
      at = end;
      if (message === undefined) break;
      if (++this.#count > MAX_LINES) throw new GuardError('negotiates without end');
      // Trimmed as multistream-select does.
      const line = Buffer.from(message).toString().trimEnd();
      if (line === 'ls') throw new GuardError('asks for a list of protocols');
      if (line === HEADER || line === NOT_AVAILABLE) continue;
      if (this.#chooses(line)) return { chosen: line, end };
    }
    return { chosen: undefined, end: data.length };
  }
}
