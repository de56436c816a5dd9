/** Frames on a libp2p stream: each preceded by its length. */
import type { AbortOptions, Stream } from '@libp2p/interface';
import { type LengthPrefixedStream, lpStream } from '@libp2p/utils';
import type { Uint8ArrayList } from 'uint8arraylist';
import { ExchangeError } from './errors.ts';
import { MAX_FRAME_LENGTH } from './messages.ts';

/** The stream as frames, every call with the run's signal. */
export interface Link {
  readonly options: AbortOptions;
  read(): Promise<Uint8Array>;
  write(frame: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export function openLink(stream: Stream, options: AbortOptions): Link {
  const frames: LengthPrefixedStream<Stream> = lpStream(stream, {
    maxDataLength: MAX_FRAME_LENGTH,
    maxBufferSize: 2 * MAX_FRAME_LENGTH,
    lengthDecoder: decodeLength,
  });
  return {
    options,
    async read() {
      return (await frames.read(options)).slice();
    },
    write: (frame) => frames.write(frame, options),
    close: () => stream.close(options),
  };
}

/**
 * The length before a frame: a varint of at most three bytes in its shortest form. lpStream reads on
 * while this throws a RangeError, so an endless length is ended with another error.
 */
function decodeLength(data: Uint8ArrayList): number {
  const size = data.byteLength;
  const last = data.get(size - 1);
  if (last >= 0x80) {
    if (size < 3) throw new RangeError('the length goes on');
    throw new ExchangeError('message', 'a frame length of more than three bytes');
  }
  if (last === 0 && size > 1) throw new ExchangeError('message', 'a frame length with padding');
  let length = 0;
  for (let at = size - 1; at >= 0; at--) length = length * 128 + (data.get(at) & 0x7f);
  return length;
}
