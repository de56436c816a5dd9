/**
 * The frames of Yamux that the other end sends, and the bytes in their streams. Pure.
 *
 * ```
 *  0        1      2       4            8           12
 *  ┌────────┬──────┬───────┬────────────┬───────────┬──────
 *  │ 0      │ type │ flags │ stream     │ length    │ data …
 *  └────────┴──────┴───────┴────────────┴───────────┴──────
 *
 *  stream: opened ──▶ lines of multistream-select ──▶ messages, each behind its length
 *                                                └──▶ bytes, of a protocol without lengths (ping)
 * ```
 *
 * libp2p's reader of frames waits for as many bytes as a frame announces, and its readers of lengths
 * take any; both are behind this one, which ends the connection first.
 * Source: https://github.com/hashicorp/yamux/blob/master/spec.md
 */
import { VarintReader } from '../../wire/message-parser.ts';
import { GuardError } from './errors.ts';
import { Negotiation } from './negotiation.ts';

const HEADER = 12;
const TYPE = { data: 0, windowUpdate: 1, ping: 2, goAway: 3 } as const;
const SYN = 1;
/** Bytes of a stream that may be on their way: Yamux's window, which grows for nobody here. */
const WINDOW = 256 * 1024;
/** Bytes of the longest message in any protocol, a list of members, with room. */
const MAX_MESSAGE = 4 * 1024 * 1024;
/** The one protocol here that has no lengths. */
const PING = '/ipfs/ping/1.0.0';
/** What a stream and a frame cost beside their bytes while they are there. */
const STREAM_COST = 1024;
const FRAME_COST = 64;

type Mode =
  | { readonly negotiation: Negotiation }
  | { readonly lengths: VarintReader; missing: number }
  | 'bytes';

interface StreamState {
  mode: Mode;
  /** What it holds at most, in bytes; nothing of it is given back before the stream closes. */
  held: number;
}

export interface FrameGuardOptions {
  /** Whether this end dialled the connection: then its own streams have odd numbers. */
  readonly dialled: boolean;
  /** Whether a protocol is served here. */
  readonly serves: (protocol: string) => boolean;
  /** The numbers of the streams that are open. */
  readonly open: () => Iterable<number>;
  /** The other end asks for a ping, or opens a stream. @throws GuardError when it is one too many */
  readonly onPing: () => void;
  readonly onStream: () => void;
}

export class FrameGuard {
  readonly #options: FrameGuardOptions;
  readonly #header = new Uint8Array(HEADER);
  readonly #view = new DataView(this.#header.buffer);
  #headerBytes = 0;
  /** The stream of the frame under way, and how much of its data is to come. */
  #current: StreamState | undefined;
  #missing = 0;
  readonly #streams = new Map<number, StreamState>();
  /** Opened since the bytes under way came: the multiplexer does not know them yet. */
  readonly #fresh = new Set<number>();
  /** The highest number seen of streams of this end, and of the other. */
  #own = 0;
  #theirs = 0;
  #held = 0;

  constructor(options: FrameGuardOptions) {
    this.#options = options;
  }

  /** Bytes that the open streams hold at most, of what the other end sent. */
  get held(): number {
    return this.#held;
  }

  /** Takes the next bytes. @throws GuardError, MessageStreamError; the guard is of no use afterwards */
  push(pieces: Iterable<Uint8Array>): void {
    this.#fresh.clear();
    for (const piece of pieces) this.#push(piece);
  }

  #push(data: Uint8Array): void {
    for (let at = 0; at < data.length; ) {
      if (this.#missing > 0) {
        const end = Math.min(data.length, at + this.#missing);
        if (this.#current) this.#inStream(this.#current, data.subarray(at, end));
        this.#missing -= end - at;
        at = end;
      } else {
        this.#header[this.#headerBytes++] = data[at++] ?? 0;
        if (this.#headerBytes < HEADER) continue;
        this.#headerBytes = 0;
        this.#frame();
      }
    }
  }

  /** Forgets what closed streams held. */
  release(): void {
    const open = new Set([...this.#options.open(), ...this.#fresh]);
    for (const [id, { held }] of this.#streams) {
      if (open.has(id)) continue;
      this.#streams.delete(id);
      this.#held -= held;
    }
  }

  #frame(): void {
    const [version, type] = this.#header;
    const flags = this.#view.getUint16(2);
    const id = this.#view.getUint32(4);
    const length = this.#view.getUint32(8);
    if (version !== 0) throw new GuardError('does not speak Yamux');
    if (type === TYPE.ping) this.#options.onPing();
    if (type !== TYPE.data && type !== TYPE.windowUpdate) return;
    if (id === 0) throw new GuardError('sends on stream 0');
    const stream = this.#streamOf(id, (flags & SYN) !== 0);
    if (type !== TYPE.data) return;
    if (length > WINDOW) throw new GuardError(`announces a frame of ${length} bytes`);
    this.#missing = length;
    this.#current = stream;
    if (stream) this.#hold(stream, length + FRAME_COST);
  }

  /** @returns the state of a stream; undefined for one that closed */
  #streamOf(id: number, opens: boolean): StreamState | undefined {
    const own = (id % 2 === 1) === this.#options.dialled;
    if (own && id > this.#own) {
      this.#own = id;
      return this.#add(id, () => true);
    }
    if (own || !opens) return this.#streams.get(id);
    // A number that is used again would have the guard see an old stream where there is a new one.
    if (id <= this.#theirs) throw new GuardError('opens one stream twice');
    this.#theirs = id;
    this.#options.onStream();
    return this.#add(id, this.#options.serves);
  }

  #add(id: number, chooses: (protocol: string) => boolean): StreamState {
    const stream: StreamState = { mode: { negotiation: new Negotiation(chooses) }, held: 0 };
    this.#streams.set(id, stream);
    this.#fresh.add(id);
    this.#hold(stream, STREAM_COST);
    return stream;
  }

  #hold(stream: StreamState, bytes: number): void {
    stream.held += bytes;
    this.#held += bytes;
  }

  #inStream(stream: StreamState, data: Uint8Array): void {
    let at = 0;
    if (stream.mode !== 'bytes' && 'negotiation' in stream.mode) {
      const { chosen, end } = stream.mode.negotiation.next(data, 0);
      at = end;
      if (chosen === PING) stream.mode = 'bytes';
      else if (chosen !== undefined) {
        stream.mode = { lengths: new VarintReader(MAX_MESSAGE), missing: 0 };
      }
    }
    const { mode } = stream;
    if (mode === 'bytes' || 'negotiation' in mode) return;
    while (at < data.length) {
      if (mode.missing > 0) {
        const end = Math.min(data.length, at + mode.missing);
        mode.missing -= end - at;
        at = end;
      } else {
        mode.missing = mode.lengths.push(data[at++] ?? 0) ?? 0;
      }
    }
  }
}
