/**
 * The exchange over a libp2p stream, with the security associations installed in the order that
 * loses no packet:
 *
 * ```
 *  initiator                               responder
 *  allocateSpi ──m1──────────────────────▶ [cookie], admit, allocateSpi
 *  installInbound ◀──────────────────m2──
 *  ──m3──────────────────────────────────▶ installInbound, installOutbound
 *  installOutbound ◀─────────────────m4──
 * ```
 *
 * Nobody sends on an SA before the other end can receive on it.
 */
import type { AbortOptions, Stream } from '@libp2p/interface';
import { MessageStreamError } from '../../wire/errors.ts';
import { MessageStream, RAW } from '../../wire/message-stream.ts';
import { type ExchangeContext, type ExchangeKeys, wipeKeys } from './context.ts';
import type { CookieJar } from './cookie.ts';
import { ExchangeError, type ExchangeFault, type Refusal } from './errors.ts';
import { type AwaitingM2, type M3Step, startExchange } from './initiator.ts';
import { encodeFrame, MAX_FRAME_LENGTH, VERSION } from './messages.ts';
import { type AwaitingM3, readM1, respond } from './responder.ts';
import type { Lifetimes, Suite } from './suite.ts';

/** The protocol id is `/icvpn/<ServiceID>/` and this. */
export const EXCHANGE_PROTOCOL_SUFFIX = 'exchange/1.0.0';

/** Milliseconds from first to last message, when the caller sets no other limit. */
export const DEFAULT_TIMEOUT = 10_000;

/** What a failed run leaves behind in the kernel. */
export interface Leftovers {
  /** The SPI that `allocateSpi` gave. An inbound SA may be installed under it. */
  readonly inboundSpi: number;
  /** Set when `installOutbound` was called. */
  readonly outboundSpi: number | undefined;
  /**
   * The peer may hold the pair and send on it: this end gave its proof, and the run broke before it
   * knew. The inbound SA must then stay for as long as an old SA is kept after a rekey.
   */
  readonly inDoubt: boolean;
}

type Link = MessageStream<Uint8Array>;

/** @returns the stream as frames, which `messages.ts` encodes */
export function openLink(stream: Stream): Link {
  return new MessageStream(stream, { reads: RAW, writes: RAW, maxLength: MAX_FRAME_LENGTH });
}

/** What the exchange asks of the data plane. The keys are overwritten when the run is over: copy them or use them at once. */
export interface ExchangeHooks {
  /** @returns an SPI that no inbound SA of this node has, from 256 to 2^32-1 */
  allocateSpi(options: AbortOptions): Promise<number>;
  installInbound(keys: ExchangeKeys, options: AbortOptions): Promise<void>;
  installOutbound(keys: ExchangeKeys, options: AbortOptions): Promise<void>;
  /** Called once when a run fails after `allocateSpi`: frees the SPI and what is installed. */
  release(leftovers: Leftovers, error: ExchangeError): Promise<void>;
}

export interface ResponderHooks extends ExchangeHooks {
  /**
   * Called when M1 is readable and, under load, its cookie good, before any other work on it.
   *
   * @returns why not, or undefined
   */
  admit?(): 'collision' | 'overload' | undefined;
}

export interface RunOptions extends AbortOptions {
  /** Milliseconds; default {@link DEFAULT_TIMEOUT}. */
  readonly timeout?: number;
}

export interface ResponderOptions extends RunOptions {
  /** Asks for a cookie whenever `underLoad` says so. */
  readonly cookies?: { readonly jar: CookieJar; readonly underLoad: () => boolean };
}

/** A finished run; both SAs are installed at this end. */
export interface ExchangeResult
  extends Pick<ExchangeKeys, 'peerCredential' | 'suite' | 'lifetimes' | 'path' | 'transcriptHash'> {
  readonly suite: Suite;
  readonly lifetimes: Lifetimes;
  readonly inboundSpi: number;
  readonly outboundSpi: number;
}

/**
 * Runs the initiator's side and closes the stream.
 *
 * @throws ExchangeError; the stream is then reset, the keys overwritten and `release` was called
 */
export function runInitiator(
  stream: Stream,
  given: ExchangeContext,
  hooks: ExchangeHooks,
  options: RunOptions = {},
): Promise<ExchangeResult> {
  return run(stream, given, hooks, options, async (context, link, sa, limit) => {
    const { m1, next } = startExchange(context, { inboundSpi: await sa.allocate() });
    sa.machine = next;
    const { m3, keys, confirm } = await untilM2(link, m1, next, limit);
    sa.keys = keys;
    await sa.installInbound();
    sa.inDoubt = true;
    await link.write(m3, limit);
    confirm(await link.read(limit));
    await sa.installOutbound();
    return keys;
  });
}

async function untilM2(
  link: Link,
  m1: Uint8Array,
  next: AwaitingM2,
  limit: AbortOptions,
): Promise<M3Step> {
  await link.write(m1, limit);
  const step = await next.onM2(await link.read(limit), limit);
  return step.kind === 'm3' ? step : untilM2(link, step.m1, next, limit);
}

/**
 * Runs the responder's side and closes the stream.
 *
 * @throws ExchangeError; the stream is then reset, the keys overwritten and `release` was called
 */
export function runResponder(
  stream: Stream,
  given: ExchangeContext,
  hooks: ResponderHooks,
  options: ResponderOptions = {},
): Promise<ExchangeResult> {
  return run(stream, given, hooks, options, async (context, link, sa, limit) => {
    const read = async () => readM1(context, await link.read(limit));
    let received = await refusing(link, limit, read);
    const { cookies } = options;
    if (cookies?.underLoad() && !cookies.jar.holds(context.peer, received.m1)) {
      await link.write(cookies.jar.challenge(context.peer, received.m1), limit);
      received = await refusing(link, limit, read);
      if (!cookies.jar.holds(context.peer, received.m1)) {
        throw new ExchangeError('cookie', `${context.peer} did not return the cookie`);
      }
    }
    const refusal = hooks.admit?.();
    if (refusal !== undefined) {
      await say(link, { refusal }, limit);
      throw new ExchangeError(refusal, `refused ${context.peer}: ${refusal}`);
    }
    const { m2, next } = respond(context, received, { inboundSpi: await sa.allocate() });
    sa.machine = next;
    await link.write(m2, limit);
    const { m4, keys } = await next.onM3(await link.read(limit), limit);
    sa.keys = keys;
    await sa.installInbound();
    await sa.installOutbound();
    sa.inDoubt = true;
    await link.write(m4, limit);
    return keys;
  });
}

const TELLABLE: Partial<Record<ExchangeFault, Refusal>> = {
  epoch: 'epoch',
  suite: 'suite',
  path: 'path',
  message: 'message',
};

/** Tells the peer in clear why its M1 cannot be answered, where the reason is no secret. */
async function refusing<T>(link: Link, limit: AbortOptions, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof ExchangeError)) throw error;
    const refusal = TELLABLE[error.fault];
    if (error.fault === 'version') await say(link, { version: VERSION }, limit);
    else if (refusal !== undefined) await say(link, { refusal }, limit);
    throw error;
  }
}

/** The last that this end says. */
async function say(
  link: Link,
  why: { refusal: Refusal } | { version: number },
  limit: AbortOptions,
): Promise<void> {
  await link.write(encodeFrame(why), limit);
  await link.stream.close(limit);
}

/** What one run holds in the data plane, and the one place that gives it back. */
class Association {
  machine: AwaitingM2 | AwaitingM3 | undefined;
  keys: ExchangeKeys | undefined;
  inDoubt = false;
  #inboundSpi: number | undefined;
  #outboundSpi: number | undefined;
  readonly #hooks: ExchangeHooks;
  readonly #options: AbortOptions;

  constructor(hooks: ExchangeHooks, options: AbortOptions) {
    this.#hooks = hooks;
    this.#options = options;
  }

  async allocate(): Promise<number> {
    const spi = await this.#call('allocate an SPI', () => this.#hooks.allocateSpi(this.#options));
    this.#inboundSpi = spi;
    this.#options.signal?.throwIfAborted();
    return spi;
  }

  installInbound(): Promise<void> {
    return this.#install('inbound', (keys) => this.#hooks.installInbound(keys, this.#options));
  }

  installOutbound(): Promise<void> {
    this.#outboundSpi = this.keys?.outbound.spi;
    return this.#install('outbound', (keys) => this.#hooks.installOutbound(keys, this.#options));
  }

  async #install(what: string, install: (keys: ExchangeKeys) => Promise<void>): Promise<void> {
    const { keys } = this;
    if (keys === undefined) throw new ExchangeError('message', 'there are no keys to install');
    await this.#call(`install the ${what} SA`, () => install(keys));
    this.#options.signal?.throwIfAborted();
  }

  async #call<T>(what: string, hook: () => Promise<T>): Promise<T> {
    try {
      return await hook();
    } catch (cause) {
      this.#options.signal?.throwIfAborted();
      throw new ExchangeError('install', `could not ${what}`, { cause });
    }
  }

  wipe(): void {
    this.machine?.abandon();
    if (this.keys !== undefined) wipeKeys(this.keys);
  }

  async release(error: ExchangeError): Promise<void> {
    if (this.#inboundSpi === undefined) return;
    const leftovers = {
      inboundSpi: this.#inboundSpi,
      outboundSpi: this.#outboundSpi,
      inDoubt: this.inDoubt,
    };
    await this.#hooks.release(leftovers, error);
  }
}

async function run(
  stream: Stream,
  given: ExchangeContext,
  hooks: ExchangeHooks,
  options: RunOptions,
  steps: (
    context: ExchangeContext,
    link: Link,
    sa: Association,
    limit: AbortOptions,
  ) => Promise<ExchangeKeys>,
): Promise<ExchangeResult> {
  // Its own PSK: the caller may overwrite what it gave when a renewal brings another one.
  const psk = Uint8Array.from(given.psk);
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), options.timeout ?? DEFAULT_TIMEOUT);
  const signal = options.signal ? AbortSignal.any([options.signal, limit.signal]) : limit.signal;
  const sa = new Association(hooks, { signal });
  try {
    signal.throwIfAborted();
    const keys = await steps({ ...given, psk }, openLink(stream), sa, { signal });
    // Both SAs are in place: whether the stream ends well changes nothing.
    await stream.close({ signal }).catch((error: Error) => stream.abort(error));
    const { peerCredential, suite, lifetimes, path, transcriptHash } = keys;
    const spis = { inboundSpi: keys.inbound.spi, outboundSpi: keys.outbound.spi };
    return { peerCredential, suite, lifetimes, path, transcriptHash, ...spis };
  } catch (cause) {
    const error = classify(cause, limit.signal, options.signal);
    stream.abort(error);
    await sa.release(error);
    throw error;
  } finally {
    clearTimeout(timer);
    psk.fill(0);
    sa.wipe();
  }
}

function classify(cause: unknown, timeout: AbortSignal, caller?: AbortSignal): ExchangeError {
  if (caller?.aborted) return new ExchangeError('aborted', 'the exchange was aborted', { cause });
  if (timeout.aborted) return new ExchangeError('timeout', 'the exchange took too long', { cause });
  if (cause instanceof ExchangeError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (cause instanceof MessageStreamError && cause.code !== 'ERR_STREAM_ENDED') {
    return new ExchangeError('message', reason, { cause });
  }
  if (cause instanceof RangeError || cause instanceof TypeError) {
    return new ExchangeError('context', reason, { cause });
  }
  return new ExchangeError('stream', `the stream to the peer broke: ${reason}`, { cause });
}
