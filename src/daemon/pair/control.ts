/**
 * What two members tell each other about their SAs, beside the exchange: `/icvpn/<ServiceID>/pair/1.0.0`,
 * a gated stream, so both ends have proved who they are. One request and one answer a stream.
 *
 * ```
 *   probe    SPI                     do you receive under it?              ──▶ known
 *   deleted  SPI                     I shall soon receive no more under it ──▶ known: it was in use
 *   moved    sequence, multiaddrs    I am there now                        ──▶ known: that is news
 *   received SPI                     what came under it?                   ──▶ known, packets
 * ```
 *
 * ```
 * Request { probe = 1 varint | deleted = 2 varint | moved = 3 Moved | received = 4 varint }   exactly one
 * Moved   { sequence = 1 varint, multiaddrs = 2 string, at most 8 times }
 * Answer  { known = 1 varint, 0 or 1, packets = 2 varint, to "received" only }
 * ```
 */
import type { Stream } from '@libp2p/interface';
import { MAX_MULTIADDRS, ownMultiaddrs } from '../../codec/multiaddr.ts';
import {
  DecodeError,
  type Infer,
  message,
  optional,
  refine,
  required,
  uint32,
  uint53,
} from '../../codec/protobuf.ts';
import { MessageStream } from '../../wire/message-stream.ts';

/** The protocol id is `/icvpn/<ServiceID>/` and this. */
export const PAIR_PROTOCOL_SUFFIX = 'pair/1.0.0';

const MIN_SPI = 256;
const MAX_ADDRESS_LENGTH = 256;
const MAX_LENGTH = MAX_MULTIADDRS * (MAX_ADDRESS_LENGTH + 8) + 64;
/** Milliseconds that a request may take to arrive and to be answered. */
const ANSWER_LIMIT = 5_000;

const spi = refine(uint32(), {
  parse: (value) => {
    if (value < MIN_SPI) throw new RangeError(`SPI ${value} is reserved`);
    return value;
  },
  format: (value: number) => value,
});
const MOVED = message({
  /** Of the same series as those of the member's endpoint records. */
  sequence: required(1, uint53()),
  multiaddrs: ownMultiaddrs(2),
});
export type Moved = Infer<typeof MOVED>;

/** Exported for the tests of its bounds. */
export const REQUEST = message({
  probe: optional(1, spi),
  deleted: optional(2, spi),
  moved: optional(3, MOVED),
  received: optional(4, spi),
});
const ANSWER = message({
  known: required(1, uint32({ max: 1 })),
  packets: optional(2, uint53()),
});

export type PairRequest =
  | { readonly probe: number }
  | { readonly deleted: number }
  | { readonly moved: Moved }
  | { readonly received: number };

export interface PairAnswer {
  readonly known: boolean;
  /** That came under the SPI, since it was installed. */
  readonly packets?: number | undefined;
}

const NONE = { probe: undefined, deleted: undefined, moved: undefined, received: undefined };

/** @returns what the peer answers. @throws the signal's reason, DecodeError, or what the stream throws */
export async function ask(
  stream: Stream,
  request: PairRequest,
  signal: AbortSignal,
): Promise<PairAnswer> {
  const frames = new MessageStream(stream, {
    reads: ANSWER,
    writes: REQUEST,
    maxLength: MAX_LENGTH,
  });
  try {
    await frames.write({ ...NONE, ...request }, { signal });
    const { known, packets } = await frames.read({ signal });
    await stream.close({ signal });
    return { known: known === 1, packets };
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}

/** Reads one request and sends what `handle` says to it. Never throws: a bad request ends the stream. */
export async function answer(
  stream: Stream,
  handle: (request: PairRequest) => PairAnswer | Promise<PairAnswer>,
  life: AbortSignal,
): Promise<void> {
  const signal = AbortSignal.any([life, AbortSignal.timeout(ANSWER_LIMIT)]);
  const frames = new MessageStream(stream, {
    reads: REQUEST,
    writes: ANSWER,
    maxLength: MAX_LENGTH,
  });
  try {
    const { known, packets } = await handle(only(await frames.read({ signal })));
    await frames.write({ known: known ? 1 : 0, packets }, { signal });
    await stream.close({ signal });
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(String(error)));
  }
}

/** @throws DecodeError unless there is exactly one */
function only({ probe, deleted, moved, received }: Infer<typeof REQUEST>): PairRequest {
  const given: PairRequest[] = [];
  if (probe !== undefined) given.push({ probe });
  if (deleted !== undefined) given.push({ deleted });
  if (moved !== undefined) given.push({ moved });
  if (received !== undefined) given.push({ received });
  const [request] = given;
  if (request === undefined || given.length > 1) {
    throw new DecodeError('', `${given.length} requests instead of one`);
  }
  return request;
}
