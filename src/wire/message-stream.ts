/**
 * Typed messages on a libp2p stream: each behind its length, within limits of size and time. The one
 * framing of all protocols of this project; what is read on the wire is drawn in `message-parser.ts`.
 *
 * Bytes are parsed as they come, also while nobody reads, so that a wrong length or a flood ends the
 * stream at once.
 */
import type { AbortOptions, MessageStreamEvents, Stream } from '@libp2p/interface';
import { Uint8ArrayList } from 'uint8arraylist';
import type { MessageCodec } from '../codec/protobuf.ts';
import { MessageStreamError } from './errors.ts';
import { encodeLength, MessageParser } from './message-parser.ts';

/** What a message costs beside its bytes while it waits, so that empty ones are not free. */
const MESSAGE_COST = 64;

export interface MessageStreamOptions<In, Out> {
  readonly reads: Pick<MessageCodec<In>, 'decode'>;
  readonly writes: Pick<MessageCodec<Out>, 'encode'>;
  /** Bytes of the longest message taken. */
  readonly maxLength: number;
  /** Bytes that may wait unread; the stream is reset beyond. Default: two of the longest messages. */
  readonly maxBuffered?: number;
}

/** For messages that are bytes, or of another codec at each step. */
export const RAW = {
  encode: (bytes: Uint8Array): Uint8Array => bytes,
  decode: (bytes: Uint8Array): Uint8Array => bytes,
};

export class MessageStream<In, Out = In> {
  readonly stream: Stream;
  readonly #reads: Pick<MessageCodec<In>, 'decode'>;
  readonly #writes: Pick<MessageCodec<Out>, 'encode'>;
  readonly #parser: MessageParser;
  readonly #maxBuffered: number;
  /** Whole messages that nobody has read. */
  readonly #waiting: Uint8Array[] = [];
  #buffered = 0;
  #failure: Error | undefined;

  /** Takes over the reading of `stream`. */
  constructor(stream: Stream, options: MessageStreamOptions<In, Out>) {
    const { maxLength, maxBuffered = 2 * maxLength + MESSAGE_COST } = options;
    this.stream = stream;
    this.#reads = options.reads;
    this.#writes = options.writes;
    this.#parser = new MessageParser(maxLength);
    this.#maxBuffered = maxBuffered;
    stream.addEventListener('message', ({ data }) => this.#take(data));
    stream.addEventListener('close', ({ error }) => {
      this.#failure ??= error;
    });
  }

  /**
   * @returns the next message
   * @throws DecodeError, MessageStreamError, the stream's own error when it is reset, or the reason
   *   of the signal; the caller then resets the stream
   */
  async read({ signal }: AbortOptions): Promise<In> {
    for (;;) {
      signal?.throwIfAborted();
      const message = this.#waiting.shift();
      if (message !== undefined) {
        this.#buffered -= message.length + MESSAGE_COST;
        return this.#reads.decode(message);
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (hasEnded(this.stream)) throw ended();
      await event(this.stream, ['message', 'remoteCloseWrite', 'close'], signal);
    }
  }

  /**
   * Resolves when the stream has room for more.
   *
   * @throws MessageStreamError `ERR_STREAM_ENDED`, the stream's own error, or the signal's reason
   */
  async write(value: Out, { signal }: AbortOptions): Promise<void> {
    const message = this.#writes.encode(value);
    signal?.throwIfAborted();
    if (this.stream.writeStatus !== 'writable') throw this.#failure ?? ended();
    const framed = new Uint8ArrayList(encodeLength(message.length), message);
    if (this.stream.send(framed)) return;
    await event(this.stream, ['drain', 'close'], signal);
    if (this.stream.writeStatus !== 'writable') throw this.#failure ?? ended();
  }

  #take(data: Uint8Array | Uint8ArrayList): void {
    if (this.#failure !== undefined) return;
    try {
      for (const piece of data instanceof Uint8Array ? [data] : data) this.#parse(piece);
    } catch (error) {
      this.#waiting.length = 0;
      this.#failure = error instanceof Error ? error : new Error(String(error));
      this.stream.abort(this.#failure);
    }
  }

  #parse(piece: Uint8Array): void {
    for (let at = 0; at < piece.length; ) {
      const { message, end } = this.#parser.next(piece, at);
      at = end;
      if (message !== undefined) {
        this.#waiting.push(message);
        this.#buffered += message.length + MESSAGE_COST;
      }
      if (this.#buffered + this.#parser.held > this.#maxBuffered) {
        const what = `the other end has sent more than ${this.#maxBuffered} bytes that wait`;
        throw new MessageStreamError('ERR_MESSAGE_OVERFLOW', what);
      }
    }
  }
}

/** @returns whether nothing more will come */
function hasEnded(stream: Stream): boolean {
  return stream.remoteWriteStatus !== 'writable' && stream.readBufferLength === 0;
}

function ended(): MessageStreamError {
  return new MessageStreamError('ERR_STREAM_ENDED', 'the other end closed the stream');
}

/** Resolves at the next of `names`. @throws the signal's reason */
function event(
  stream: Stream,
  names: readonly (keyof MessageStreamEvents | 'remoteCloseWrite')[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onEvent = (): void => resolve();
  const onAbort = (): void => reject(signal?.reason);
  for (const name of names) stream.addEventListener(name, onEvent);
  signal?.addEventListener('abort', onAbort, { once: true });
  return promise.finally(() => {
    for (const name of names) stream.removeEventListener(name, onEvent);
    signal?.removeEventListener('abort', onAbort);
  });
}
