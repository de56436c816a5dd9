/** What one peer may ask of a gate: hellos, and streams, messages and bytes on all gated protocols together. */
import type { Stream } from '@libp2p/interface';
import { Allowance, type AllowanceLimits } from './allowance.ts';
import { FrameCounter } from './frame-counter.ts';
import { GateError } from './pass.ts';

/** Far above what the protocols need. */
const STREAM_LIMITS = { perSecond: 64, burst: 1_024 };
/** One for each connection and each newer credential; each costs this node the check of a signature. */
const HELLO_LIMITS = { perSecond: 2, burst: 64 };
/** A sync brings up to 1,024 records, each a message; each question to the DHT is one, and may ask for much. */
const MESSAGE_LIMITS = { perSecond: 64, burst: 4_096 };
const BYTE_LIMITS = { perSecond: 1024 * 1024, burst: 32 * 1024 * 1024 };
/** Peers whose use is remembered. */
const MAX_METERED = 8_192;

export interface MeterLimits {
  /** Streams that one peer may open at this node. */
  readonly streams?: AllowanceLimits;
  /** Hellos that one peer may say. */
  readonly hellos?: AllowanceLimits;
  /** Messages that one peer may send on them. */
  readonly messages?: AllowanceLimits;
  /** Bytes that one peer may send on them. */
  readonly bytes?: AllowanceLimits;
}

export class Meter {
  readonly #streams: Allowance;
  readonly #hellos: Allowance;
  readonly #messages: Allowance;
  readonly #bytes: Allowance;

  constructor(limits: MeterLimits, clock: () => number) {
    const { streams = STREAM_LIMITS, hellos = HELLO_LIMITS } = limits;
    const { messages = MESSAGE_LIMITS, bytes = BYTE_LIMITS } = limits;
    this.#streams = new Allowance(streams, clock, MAX_METERED);
    this.#hellos = new Allowance(hellos, clock, MAX_METERED);
    this.#messages = new Allowance(messages, clock, MAX_METERED);
    this.#bytes = new Allowance(bytes, clock, MAX_METERED);
  }

  /** @returns why `peer` may not open another stream now; undefined when it may */
  refusedStream(peer: string): GateError | undefined {
    if (this.#streams.take(peer, 1)) return undefined;
    return new GateError('ERR_TOO_MUCH', `${peer} opens too many streams`);
  }

  /** @returns why `peer` may not say another hello now; undefined when it may */
  refusedHello(peer: string): GateError | undefined {
    if (this.#hellos.take(peer, 1)) return undefined;
    return new GateError('ERR_TOO_MUCH', `${peer} says hello too often`);
  }

  /** Resets the stream once `peer` has sent too much. Call it when the handler has begun to read. */
  watch(stream: Stream, peer: string): void {
    // Data waits in the stream for its first listener: the meter must not be that one. The handlers
    // of this project begin to read at once.
    if (stream.listenerCount('message') === 0) return;
    const counter = new FrameCounter();
    stream.addEventListener('message', ({ data }) => {
      const begun = counter.count(data instanceof Uint8Array ? [data] : data);
      const bytes = this.#bytes.take(peer, data.byteLength);
      if (bytes && this.#messages.take(peer, begun)) return;
      const what = bytes ? 'messages' : 'bytes';
      stream.abort(new GateError('ERR_TOO_MUCH', `${peer} sends too many ${what}`));
    });
  }
}
