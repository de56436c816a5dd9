/**
 * One pair of members: the runs of the exchange between them and the SAs that come out of it.
 *
 * ```
 *  ACQUIRE ──▶ want ──┐                       ┌─▶ inbound, then outbound SA installed
 *                     ├─▶ PairState ─▶ one run┤
 *  stream  ──▶ M1 ────┘   (who yields)        └─▶ failed: SPI released, tried again
 *
 *  old SAs: outbound removed at once, inbound after an overlap, for packets on their way
 * ```
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Ed25519PeerId, Stream } from '@libp2p/interface';
import type { DataPlane } from '../ipsec/dataplane.ts';
import { PairState } from '../keymgmt/exchange/collision.ts';
import type { ExchangeContext } from '../keymgmt/exchange/context.ts';
import { ExchangeError } from '../keymgmt/exchange/errors.ts';
import {
  DEFAULT_TIMEOUT,
  type ExchangeHooks,
  type ExchangeResult,
  runInitiator,
  runResponder,
} from '../keymgmt/exchange/protocol.ts';
import type { Log } from './log.ts';

/** How long the old inbound SA is kept after new keys, in milliseconds. */
const OVERLAP_MS = 30_000;
/** After a failed run, in milliseconds: doubled each time. */
const FIRST_RETRY_MS = 250;
/** The kernel gives up a packet's wait after 30 s (net.core.xfrm_acq_expires); so do we. */
const MAX_TRIES = 6;

export interface PairOptions {
  readonly local: Ed25519PeerId;
  readonly remote: Ed25519PeerId;
  readonly dataPlane: DataPlane;
  readonly context: () => ExchangeContext;
  /** Opens an exchange stream to the remote. */
  readonly open: (signal: AbortSignal) => Promise<Stream>;
  readonly log: Log;
}

/** SPIs of a pair of SAs. */
export interface SpiPair {
  readonly inboundSpi: number;
  readonly outboundSpi: number;
}

export class Pair implements AsyncDisposable {
  readonly #options: PairOptions;
  readonly #id: string;
  readonly #state: PairState;
  readonly #closed = new AbortController();
  readonly #work = new Set<Promise<void>>();
  /** The run under way, to be given up when the peer's wins. */
  #run: { readonly number: number; readonly abort: AbortController } | undefined;
  #current: SpiPair | undefined;

  constructor(options: PairOptions) {
    this.#options = options;
    this.#id = options.remote.toString();
    this.#state = new PairState(options.local, options.remote);
  }

  get current(): SpiPair | undefined {
    return this.#current;
  }

  /** A packet waits for an SA, or new keys are due. */
  want(): void {
    const decision = this.#state.want();
    if (decision.do === 'start') this.#track(this.#initiate(decision.run, 1));
  }

  /** The peer has opened an exchange stream. */
  async respond(stream: Stream): Promise<void> {
    let number: number | undefined;
    const abort = new AbortController();
    const hooks = {
      ...this.#hooks(),
      admit: () => {
        const decision = this.#state.m1();
        if (decision.do !== 'respond') return 'collision' as const;
        this.#run?.abort.abort();
        number = decision.run;
        this.#run = { number, abort };
        return undefined;
      },
    };
    let succeeded = false;
    try {
      const signal = AbortSignal.any([this.#closed.signal, abort.signal]);
      this.#install(await runResponder(stream, this.#options.context(), hooks, { signal }));
      succeeded = true;
    } catch (error) {
      this.#failed('responder', error);
    }
    const stillWanted = number !== undefined && this.#state.over(number, succeeded);
    if (stillWanted) this.#track(this.#retry(1));
  }

  async #initiate(number: number, attempt: number): Promise<void> {
    const abort = new AbortController();
    this.#run = { number, abort };
    const signal = AbortSignal.any([this.#closed.signal, abort.signal]);
    try {
      const stream = await this.#options.open(signal);
      this.#install(await runInitiator(stream, this.#options.context(), this.#hooks(), { signal }));
      this.#state.over(number, true);
    } catch (error) {
      if (abort.signal.aborted) return; // the peer's run took its place
      this.#failed('initiator', error);
      if (error instanceof ExchangeError && error.fault === 'collision') {
        this.#state.refused(number);
        return this.#defer(number);
      }
      if (this.#state.over(number, false)) return this.#retry(attempt);
    }
  }

  /** The peer's own run goes on; should that fail, this end begins again. */
  async #defer(number: number): Promise<void> {
    if (!(await this.#wait(DEFAULT_TIMEOUT))) return;
    const decision = this.#state.expired(number);
    if (decision.do === 'start') await this.#initiate(decision.run, 1);
  }

  async #retry(attempt: number): Promise<void> {
    if (attempt === MAX_TRIES) return;
    if (!(await this.#wait(FIRST_RETRY_MS * 2 ** (attempt - 1)))) return;
    const decision = this.#state.want();
    if (decision.do === 'start') await this.#initiate(decision.run, attempt + 1);
  }

  #failed(role: string, error: unknown): void {
    if (this.#closed.signal.aborted) return;
    this.#options.log('exchange-failed', { peer: this.#id, role, why: String(error) });
  }

  #hooks(): ExchangeHooks {
    const { dataPlane } = this.#options;
    return {
      allocateSpi: () => dataPlane.allocateSpi(this.#id),
      installInbound: ({ inbound }) => dataPlane.installInbound(this.#id, inbound.spi, inbound),
      installOutbound: ({ outbound }) =>
        dataPlane.installOutbound(this.#id, outbound.spi, outbound),
      release: async ({ inboundSpi, outboundSpi }) => {
        await dataPlane.removeSa(this.#id, inboundSpi, 'in');
        if (outboundSpi !== undefined) await dataPlane.removeSa(this.#id, outboundSpi, 'out');
      },
    };
  }

  #install({ inboundSpi, outboundSpi, transcriptHash }: ExchangeResult): void {
    const old = this.#current;
    this.#current = { inboundSpi, outboundSpi };
    const run = Buffer.from(transcriptHash).toString('hex').slice(0, 16);
    this.#options.log('sa-installed', { peer: this.#id, inboundSpi, outboundSpi, run });
    if (old !== undefined) this.#track(this.#retire(old));
  }

  async #retire({ inboundSpi, outboundSpi }: SpiPair): Promise<void> {
    const { dataPlane } = this.#options;
    await dataPlane.removeSa(this.#id, outboundSpi, 'out');
    if (await this.#wait(OVERLAP_MS)) await dataPlane.removeSa(this.#id, inboundSpi, 'in');
  }

  /** @returns false when the pair was closed meanwhile */
  async #wait(ms: number): Promise<boolean> {
    const { signal } = this.#closed;
    await delay(ms, undefined, { signal }).catch(() => {});
    return !signal.aborted;
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error) => this.#options.log('pair-failed', { peer: this.#id, why: String(error) }))
      .finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
  }

  /** Ends what is under way. The kernel's SAs are for the data plane to remove. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    await Promise.all(this.#work);
  }
}
