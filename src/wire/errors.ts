import { IcvpnError } from '../errors.ts';

export type MessageStreamCode =
  /** The length before a message is no varint in its shortest form, or above the limit. */
  | 'ERR_MESSAGE_LENGTH'
  /** The remote sends faster than its messages are read. */
  | 'ERR_MESSAGE_OVERFLOW'
  /** The stream ended before a whole message came. */
  | 'ERR_STREAM_ENDED';

const REMEDY: Record<MessageStreamCode, string> = {
  ERR_MESSAGE_LENGTH: 'update icvpn on both ends; the other end does not keep to the protocol',
  ERR_MESSAGE_OVERFLOW: 'update icvpn on both ends; the other end does not keep to the protocol',
  ERR_STREAM_ENDED: 'try again; if it recurs, read the log of the other end',
};

/** A stream does not carry length-prefixed messages as it must. */
export class MessageStreamError extends IcvpnError {
  declare readonly code: MessageStreamCode;

  constructor(code: MessageStreamCode, message: string, options?: ErrorOptions) {
    super(code, message, REMEDY[code], options);
  }
}
