/**
 * The runs of the exchange between two members, one at a time, and what becomes of each.
 *
 * ```
 *  want ─────────┐                        ┌─▶ established: both SAs are in the kernel
 *                ├─▶ PairState ─▶ one run ┼─▶ in doubt: the peer may have them; our inbound SA stays
 *  stream ─▶ M1 ─┘   (who yields)         └─▶ failed: nothing is left of it
 * ```
 */
import type { Ed25519PeerId, Stream } from '@libp2p/interface';
import type { DataPlane } from '../../ipsec/dataplane.ts';
import type { Timing } from '../../ipsec/lifecycle/timing.ts';
import { type PairDecision, PairState } from '../../keymgmt/exchange/collision.ts';
import type { ExchangeContext, ExchangeKeys } from '../../keymgmt/exchange/context.ts';
import { ExchangeError } from '../../keymgmt/exchange/errors.ts';
import type { Path } from '../../keymgmt/exchange/path.ts';
import {
  DEFAULT_TIMEOUT,
  type ExchangeHooks,
  type ExchangeResult,
  type Leftovers,
  runInitiator,
  runResponder,
} from '../../keymgmt/exchange/protocol.ts';
import type { Log } from '../log.ts';
import type { HalfOpen } from './half-open.ts';
import { kernelLifetime } from './lifetime.ts';
import type { PeerPath } from './path.ts';

/** What of the data plane a pair uses. */
export type PairPlane = Pick<
  DataPlane,
  | 'allocateSpi'
  | 'installInbound'
  | 'installOutbound'
  | 'removeSa'
  | 'rejectAcquire'
  | 'updatePeerUnderlay'
  | 'remap'
  | 'keepalive'
  | 'packets'
>;

/** An exchange stream, and where this node sees the remote on its connection. */
export interface Line {
  readonly stream: Stream;
  /** Undefined if the two are not connected directly. */
  readonly seen: string | undefined;
}

/**
 * Milliseconds for which what waits for an SA waits also for the first packet of a peer behind a NAT:
 * before it nobody knows where to send.
 */
const PORT_LIMIT = 500;

export interface RunsOptions {
  readonly local: Ed25519PeerId;
  readonly remote: Ed25519PeerId;
  readonly dataPlane: PairPlane;
  readonly context: (line: Line) => ExchangeContext;
  /** Opens an exchange stream to the remote. */
  readonly open: (signal: AbortSignal) => Promise<Line>;
  readonly path: PeerPath;
  readonly halfOpen: HalfOpen;
  /** Sends a packet through the SA to the remote. */
  readonly touch: () => void;
  readonly timing: Timing;
  /** From 0 to below 1, for jitter. */
  readonly random: () => number;
  readonly log: Log;
  /** @param outdated whether this end has changed its terms since it told them to the peer */
  readonly onEstablished: (result: ExchangeResult, outdated: boolean) => void;
  readonly onInDoubt: (inboundSpi: number) => void;
  /** A run has failed and keys are still wanted. */
  readonly onFailed: () => void;
}

interface Run {
  readonly number: number;
  readonly abort: AbortController;
  /** Everything of the peer has been removed meanwhile: nothing of this run counts. */
  abandoned: boolean;
}

export class Runs implements AsyncDisposable {
  readonly #options: RunsOptions;
  readonly #id: string;
  readonly #state: PairState;
  readonly #closed = new AbortController();
  readonly #work = new Set<Promise<void>>();
  #run: Run | undefined;
  /** How often this end has changed what it offers. */
  #terms = 0;
  #deferring: NodeJS.Timeout | undefined;
  #failure: unknown;

  constructor(options: RunsOptions) {
    this.#options = options;
    this.#id = options.remote.toString();
    this.#state = new PairState(options.local, options.remote);
  }

  /** Why the last run that this end began has failed; undefined when it has not, or none did yet. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Keys are wanted; a run that is under way is good enough. */
  want(): void {
    this.#obey(this.#state.want());
  }

  /** What this end offers is no longer what a run under way has told the peer. */
  outdate(): void {
    this.#terms++;
  }

  /** The peer has opened an exchange stream. */
  respond(line: Line): Promise<void> {
    return this.#track(this.#respond(line));
  }

  /** Gives the run under way up, and with it what it has in the kernel. */
  abandon(): void {
    const { number } = this.#run ?? {};
    if (number === undefined) return;
    if (this.#state.phase === 'deferring') {
      this.#obey(this.#state.expired(number));
    } else {
      this.#stop(true);
      this.#state.over(number, false);
    }
  }

  #obey(decision: PairDecision): void {
    if (decision.do !== 'start' || this.#closed.signal.aborted) return;
    void this.#track(this.#initiate(this.#begin(decision.run)));
  }

  #begin(number: number): Run {
    clearTimeout(this.#deferring);
    const run = { number, abort: new AbortController(), abandoned: false };
    this.#run = run;
    return run;
  }

  #stop(abandoned: boolean): void {
    if (this.#run === undefined) return;
    this.#run.abandoned = abandoned;
    this.#run.abort.abort();
  }

  #signal(run: Run): AbortSignal {
    return AbortSignal.any([this.#closed.signal, run.abort.signal]);
  }

  async #initiate(run: Run): Promise<void> {
    const { open, context } = this.#options;
    const signal = this.#signal(run);
    try {
      const line = await open(signal);
      this.#state.opened(run.number);
      const terms = this.#terms;
      const hooks = this.#hooks(run);
      const result = await runInitiator(line.stream, context(line), hooks, { signal });
      await this.#succeeded(run, result, terms);
    } catch (error) {
      this.#complain('initiator', run, error);
      if (error instanceof ExchangeError && error.fault === 'collision') return this.#defer(run);
      if (this.#state.over(run.number, false)) this.#options.onFailed();
    }
  }

  async #respond(line: Line): Promise<void> {
    // M1 decides whether this becomes a run; until then only the peer's own time is at stake.
    let run: Run = { number: -1, abort: new AbortController(), abandoned: false };
    const early = run;
    const { halfOpen, remote } = this.#options;
    let proved = (): void => {};
    const admit = (): 'collision' | 'overload' | undefined => {
      if (!halfOpen.allows(remote)) return 'overload';
      const decision = this.#state.m1();
      if (decision.do !== 'respond') return 'collision';
      this.#stop(false);
      run = this.#begin(decision.run);
      run.abort.signal.addEventListener('abort', () => early.abort.abort());
      proved = halfOpen.enter(() => run.abort.abort());
      return undefined;
    };
    const hooks: ExchangeHooks = {
      allocateSpi: (options) => this.#hooks(run).allocateSpi(options),
      installInbound: (keys, options) => {
        proved(); // M3 held
        return this.#hooks(run).installInbound(keys, options);
      },
      installOutbound: (keys, options) => this.#hooks(run).installOutbound(keys, options),
      release: (leftovers, error) => this.#hooks(run).release(leftovers, error),
    };
    const signal = this.#signal(early);
    try {
      const terms = this.#terms;
      const context = this.#options.context(line);
      const cookies = { jar: halfOpen.jar, underLoad: halfOpen.underLoad };
      const options = { signal, cookies };
      const result = await runResponder(line.stream, context, { ...hooks, admit }, options);
      await this.#succeeded(run, result, terms);
    } catch (error) {
      this.#complain('responder', run, error);
      if (run !== early && this.#state.over(run.number, false)) this.#options.onFailed();
    } finally {
      proved();
    }
  }

  async #succeeded(run: Run, result: ExchangeResult, terms: number): Promise<void> {
    if (run.abandoned) {
      const { inboundSpi, outboundSpi } = result;
      return this.#release(run, { inboundSpi, outboundSpi, inDoubt: false });
    }
    this.#failure = undefined;
    this.#state.over(run.number, true);
    this.#options.onEstablished(result, terms !== this.#terms);
  }

  /** The peer's own run goes on; should its M1 not come, this end begins again. */
  #defer({ number }: Run): void {
    this.#state.refused(number);
    clearTimeout(this.#deferring);
    this.#deferring = setTimeout(() => this.#obey(this.#state.expired(number)), DEFAULT_TIMEOUT);
  }

  #complain(role: string, { abort }: Run, error: unknown): void {
    if (this.#closed.signal.aborted || abort.signal.aborted) return;
    if (role === 'initiator') this.#failure = error;
    this.#options.log('exchange-failed', { peer: this.#id, role, why: String(error) });
  }

  #hooks(run: Run): ExchangeHooks {
    const { dataPlane, timing, random, path } = this.#options;
    const options = (keys: ExchangeKeys, direction: 'in' | 'out') => ({
      lifetime: kernelLifetime(keys.lifetimes, direction, timing, random()),
      udp: path.ports(keys.path),
    });
    return {
      allocateSpi: () => dataPlane.allocateSpi(this.#id),
      installInbound: async (keys) => {
        path.agree(keys.path);
        const { inbound } = keys;
        await dataPlane.installInbound(this.#id, inbound.spi, inbound, options(keys, 'in'));
      },
      installOutbound: async (keys) => {
        await this.#untilPortKnown(keys.path, run);
        const { outbound } = keys;
        await dataPlane.installOutbound(this.#id, outbound.spi, outbound, options(keys, 'out'));
        // The peer can receive by now, and learns where this end is.
        if (path.showsItself) this.#options.touch();
      },
      release: (leftovers) => this.#release(run, leftovers),
    };
  }

  #untilPortKnown(agreed: Path, run: Run): Promise<void> {
    if (this.#state.phase !== 'initiating') return Promise.resolve();
    const limit = AbortSignal.any([this.#signal(run), AbortSignal.timeout(PORT_LIMIT)]);
    return this.#options.path.portKnown(agreed, limit);
  }

  async #release(run: Run, { inboundSpi, outboundSpi, inDoubt }: Leftovers): Promise<void> {
    const { dataPlane, onInDoubt } = this.#options;
    if (outboundSpi !== undefined) await dataPlane.removeSa(this.#id, outboundSpi, 'out');
    if (inDoubt && !run.abandoned) onInDoubt(inboundSpi);
    else await dataPlane.removeSa(this.#id, inboundSpi, 'in');
  }

  #track(work: Promise<void>): Promise<void> {
    const tracked = work
      .catch((error) => this.#options.log('pair-failed', { peer: this.#id, why: String(error) }))
      .finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
    return tracked;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#deferring);
    this.#closed.abort();
    await Promise.all(this.#work);
  }
}
