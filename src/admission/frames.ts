/** Messages on a libp2p stream: each behind its length, within limits of size and time. */
import type { Stream } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import type { Uint8ArrayList } from 'uint8arraylist';
import type { MessageCodec } from '../codec/protobuf.ts';
import { AdmissionProtocolError } from './errors.ts';

export interface Frames {
  /** @throws DecodeError, or the stream's own error when it ends or the message is too long */
  read<T>(codec: MessageCodec<T>, signal: AbortSignal): Promise<T>;
  write<T>(codec: MessageCodec<T>, value: T, signal: AbortSignal): Promise<void>;
}

/** The most that is buffered of what a remote sends without being asked, in bytes. */
const MAX_BUFFERED = 64 * 1024;

/** Bytes of the length before a message: 28 bits are enough for all of ours. */
const MAX_LENGTH_LENGTH = 4;

/** @param longest the largest message read, in bytes; a longer one ends the stream */
export function frames(stream: Stream, longest: number): Frames {
  const maxBufferSize = Math.max(longest + MAX_LENGTH_LENGTH, MAX_BUFFERED);
  stream.maxReadBufferLength = maxBufferSize;
  const framed = lpStream(stream, { maxDataLength: longest, maxBufferSize, lengthDecoder });
  return {
    read: async (codec, signal) => codec.decode((await framed.read({ signal })).subarray()),
    write: (codec, value, signal) => framed.write(codec.encode(value), { signal }),
  };
}

/**
 * An unsigned varint. lpStream takes a RangeError for "more bytes are needed" and then reads on
 * without end, whatever its own limit on the length of lengths says; so that limit is kept here.
 */
function lengthDecoder(bytes: Uint8ArrayList): number {
  let value = 0;
  for (let i = 0; i < bytes.byteLength; i++) {
    const byte = bytes.get(i);
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return value;
  }
  if (bytes.byteLength < MAX_LENGTH_LENGTH) throw new RangeError('more bytes are needed');
  throw new AdmissionProtocolError('the length of a message is too long');
}
