/**
 * Typed messages on a libp2p stream: an unsigned varint of the length, then canonical protobuf.
 */
import type { AbortOptions, Stream } from '@libp2p/interface';
import { type LengthPrefixedStream, lpStream } from '@libp2p/utils';
import type { MessageCodec } from '../codec/protobuf.ts';

export interface FramesOptions<In, Out> {
  readonly reads: MessageCodec<In>;
  readonly writes: MessageCodec<Out>;
  /** Bytes of the largest message taken; the stream is reset when twice that waits unread. */
  readonly maxLength: number;
}

export class Frames<In, Out = In> {
  readonly stream: Stream;
  readonly #options: FramesOptions<In, Out>;
  readonly #frames: LengthPrefixedStream<Stream>;

  constructor(stream: Stream, options: FramesOptions<In, Out>) {
    this.stream = stream;
    this.#options = options;
    const { maxLength } = options;
    this.#frames = lpStream(stream, { maxDataLength: maxLength, maxBufferSize: 2 * maxLength });
  }

  /** @throws DecodeError, or what libp2p throws when the stream ends or the message is too long */
  async read(options: AbortOptions): Promise<In> {
    const message = await this.#frames.read(options);
    // A plain copy: libp2p hands out Buffers that are views of its read buffer.
    return this.#options.reads.decode(Uint8Array.from(message.subarray()));
  }

  async write(value: Out, options: AbortOptions): Promise<void> {
    await this.#frames.write(this.#options.writes.encode(value), options);
  }
}
