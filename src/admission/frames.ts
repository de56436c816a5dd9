/** Messages on a libp2p stream: each behind its length, within limits of size and time. */
import type { Stream } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import type { MessageCodec } from '../codec/protobuf.ts';

export interface Frames {
  /** @throws DecodeError, or the stream's own error when it ends or the message is too long */
  read<T>(codec: MessageCodec<T>, signal: AbortSignal): Promise<T>;
  write<T>(codec: MessageCodec<T>, value: T, signal: AbortSignal): Promise<void>;
}

/** The most that is buffered of what a remote sends without being asked, in bytes. */
const MAX_BUFFERED = 64 * 1024;

/** @param longest the largest message read, in bytes; a longer one ends the stream */
export function frames(stream: Stream, longest: number): Frames {
  const maxBufferSize = Math.max(longest + 16, MAX_BUFFERED);
  stream.maxReadBufferLength = maxBufferSize;
  const framed = lpStream(stream, { maxDataLength: longest, maxLengthLength: 4, maxBufferSize });
  return {
    read: async (codec, signal) => codec.decode((await framed.read({ signal })).subarray()),
    write: (codec, value, signal) => framed.write(codec.encode(value), { signal }),
  };
}
