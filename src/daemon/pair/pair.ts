/**
 * One pair of members: its life cycle, joined to kernel, exchange and peer.
 *
 * ```
 *   kernel ── acquire, expire, loss, usage ▶┌───────────────┐ ── exchange ─────────▶ Runs
 *   Runs ──── established, in doubt, failed ▶│ PairLifecycle │ ── remove, move ─────▶ kernel
 *   peer ──── delete notice, answer ───────▶ │               │ ── notify, probe ────▶ peer
 *   clock ─── tick ────────────────────────▶ └───────────────┘ ── wakeAt ───────────▶ clock
 * ```
 */
import type { Underlay } from '../../ipsec/dataplane.ts';
import type {
  LifecycleAction,
  LifecycleEvent,
  SaPair,
  SaUsage,
} from '../../ipsec/lifecycle/events.ts';
import { PairLifecycle } from '../../ipsec/lifecycle/machine.ts';
import { DEFAULT_TIMING, type Timing } from '../../ipsec/lifecycle/timing.ts';
import type { ExchangeContext } from '../../keymgmt/exchange/context.ts';
import type { ExchangeResult } from '../../keymgmt/exchange/protocol.ts';
import type { Suite } from '../../keymgmt/exchange/suite.ts';
import type { PathStatus } from '../status.ts';
import { PeerPath } from './path.ts';
import { PathWatch } from './path-watch.ts';
import { type Line, type PairPlane, Runs, type RunsOptions } from './runs.ts';

/**
 * Milliseconds for which the kernel keeps an outbound SA that has a successor: a packet between the
 * choice of its SA and its encryption is lost when the SA goes.
 */
const DRAIN = 1_000;
/** Milliseconds that telling a peer may take when this node leaves. */
const FAREWELL = 1_500;
/** Exchanges that cross may leave more than one pair of SAs for a while. */
const MAX_SUITES = 4;
/** The longest that a timer of Node's waits. */
const MAX_TIMER = 2 ** 31 - 1;

/** Questions and news to the peer, over its authenticated connection. */
export interface PairControl {
  /** Whether the peer has this inbound SA. */
  probe(spi: number, signal: AbortSignal): Promise<boolean>;
  /** What the peer has received under this SPI; undefined if it has no such SA. */
  received(spi: number, signal: AbortSignal): Promise<number | undefined>;
  /** This end will soon receive no more under this SPI. */
  deleted(spi: number, signal: AbortSignal): Promise<void>;
}

export interface PairOptions
  extends Pick<
    RunsOptions,
    'local' | 'remote' | 'dataPlane' | 'context' | 'open' | 'touch' | 'halfOpen' | 'log'
  > {
  readonly control: PairControl;
  readonly timing?: Partial<Timing>;
  /** Milliseconds between the looks at whether ESP passes. */
  readonly checkPauses?: readonly number[];
  /** From 0 to below 1, for jitter. */
  readonly random?: () => number;
}

export class Pair {
  readonly #options: PairOptions;
  readonly #id: string;
  readonly #plane: PairPlane;
  readonly #timing: Timing;
  readonly #life: PairLifecycle;
  readonly #runs: Runs;
  readonly #path = new PeerPath();
  readonly #watch: PathWatch;
  readonly #closed = new AbortController();
  readonly #work = new Set<Promise<void>>();
  readonly #drains = new Set<NodeJS.Timeout>();
  #underlay: Underlay | undefined;
  /** What the kernel counted last for all SAs, and when that was another number than before. */
  readonly #traffic = { packets: 0n, at: Number.NEGATIVE_INFINITY };
  /** What the newest SAs were agreed with, by inbound SPI. */
  readonly #suites = new Map<number, Suite>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PairOptions) {
    const { random = Math.random, remote, dataPlane } = options;
    this.#options = options;
    this.#id = remote.toString();
    this.#plane = dataPlane;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
    this.#life = new PairLifecycle({ random, timing: this.#timing });
    this.#watch = new PathWatch({
      ...{
        id: this.#id,
        dataPlane,
        path: this.#path,
        touch: () => this.#touch(),
        log: options.log,
      },
      current: () => this.#life.pair,
      received: (spi) => options.control.received(spi, this.#limit()),
      onBlocked: () => this.renew(),
      pauses: options.checkPauses,
    });
    this.#runs = new Runs({
      ...options,
      ...{ random, timing: this.#timing, path: this.#path, touch: () => this.#touch() },
      context: (line) => this.#context(line),
      onEstablished: (result, outdated) => this.#established(result, outdated),
      onInDoubt: (inboundSpi) => this.#tell({ type: 'in-doubt', inboundSpi }),
      onFailed: () => this.#tell({ type: 'failed' }),
    });
  }

  /** The SAs in use. */
  get current(): SaPair | undefined {
    return this.#life.pair;
  }

  /** Whether the SAs in use have moved packets, either way, in the last milliseconds. */
  moves(withinMs: number): boolean {
    return this.current !== undefined && performance.now() - this.#traffic.at <= withinMs;
  }

  /** Why the last run of this end has failed; undefined when it has not, or none did yet. */
  get failure(): unknown {
    return this.#runs.failure;
  }

  /** What the SAs in use were agreed with. */
  get suite(): Suite | undefined {
    const { pair } = this.#life;
    return pair && this.#suites.get(pair.inboundSpi);
  }

  /** How ESP gets to the peer; undefined before the first exchange. */
  get path(): PathStatus | undefined {
    return this.#path.view;
  }

  /** A packet waits for an SA. */
  acquire(): void {
    this.#tell({ type: 'acquire' });
  }

  expired(spi: number, direction: 'in' | 'out', hard: boolean): void {
    this.#tell({ type: 'expired', spi, direction, hard });
  }

  /** Another program has taken an SA from the kernel. */
  lost(spi: number, direction: 'in' | 'out'): void {
    this.#options.log('sa-lost', { peer: this.#id, spi, direction });
    this.#tell({ type: 'lost', spi, direction });
  }

  counted(usage: readonly SaUsage[]): void {
    const packets = usage.reduce((sum, each) => sum + each.packets, 0n);
    if (packets !== this.#traffic.packets) this.#traffic.at = performance.now();
    this.#traffic.packets = packets;
    this.#tell({ type: 'counters', usage });
    this.#watch.counted(usage);
  }

  /** Whether the peer is where its packets come from, whatever was told before. */
  get follows(): boolean {
    return this.#path.follows;
  }

  /** A packet of the peer's, which its SA has authenticated, came from this port. */
  mapped(port: number): void {
    if (!this.#path.mapped(port)) return;
    this.#options.log('peer-mapped', { peer: this.#id, port });
    this.#track(this.#plane.remap(this.#id, port));
  }

  /** New keys in the place of those in use, if there are any: what is agreed on with them has changed. */
  renew(): void {
    this.#runs.outdate();
    if (this.#life.pair !== undefined) this.#tell({ type: 'acquire' });
  }

  /** The peer has told that its inbound SA goes. @returns whether it was in use */
  deleted(outboundSpi: number): boolean {
    const known = this.#life.pair?.outboundSpi === outboundSpi;
    this.#tell({ type: 'deleted', outboundSpi });
    return known;
  }

  /** Whether this end receives under an SPI: what the peer's probe asks, and the kernel answers. */
  async receives(inboundSpi: number): Promise<boolean> {
    return (await this.received(inboundSpi)) !== undefined;
  }

  /** What has come under an SPI, from the kernel; undefined if this end does not receive under it. */
  async received(inboundSpi: number): Promise<number | undefined> {
    const { pair, kept } = this.#life;
    const known =
      pair?.inboundSpi === inboundSpi || kept.some((each) => each.inboundSpi === inboundSpi);
    if (!known) return undefined;
    const packets = await this.#plane.packets(this.#id, inboundSpi, 'in');
    if (packets === undefined) return undefined;
    // The peer hears nothing: perhaps a NAT shows this end elsewhere, and only a packet tells where.
    if (this.#path.showsItself) this.#touch();
    return Number(packets);
  }

  /** The ends of the tunnel are others now. */
  move(underlay: Underlay): void {
    this.#underlay = underlay;
    this.#path.moved();
    this.#tell({ type: 'moved' });
  }

  /** As {@link move}, at the begin of a run of this end, which goes on if there are no SAs yet. */
  async aim(underlay: Underlay): Promise<void> {
    if (this.#life.pair !== undefined || this.#life.kept.length > 0) return this.move(underlay);
    this.#underlay = underlay;
    this.#path.moved();
    await this.#plane.updatePeerUnderlay(this.#id, underlay);
  }

  /** The peer may have started anew: whether it has still got the pair is asked at once. */
  doubt(): void {
    const { pair } = this.#life;
    if (pair !== undefined) this.#track(this.#probe(pair.outboundSpi));
  }

  /** The peer has opened an exchange stream. */
  respond(line: Line): Promise<void> {
    return this.#runs.respond(line);
  }

  /** Ends what is under way. The kernel's SAs are for the data plane to remove. */
  async close({ tellPeer }: { readonly tellPeer: boolean }): Promise<void> {
    clearTimeout(this.#timer);
    this.#watch.close();
    for (const drain of this.#drains) clearTimeout(drain);
    this.#closed.abort();
    await this.#runs[Symbol.asyncDispose]();
    await Promise.all(this.#work);
    const actions = this.#life.handle({ type: 'close' }, performance.now());
    if (!tellPeer) return;
    const limit = AbortSignal.timeout(FAREWELL);
    for (const action of actions) {
      if (action.do !== 'notify-deleted') continue;
      // A peer that does not hear it finds out by asking.
      await this.#options.control.deleted(action.inboundSpi, limit).catch(() => {});
    }
  }

  #context(line: Line): ExchangeContext {
    const context = this.#options.context(line);
    return { ...context, path: { ...context.path, blocked: this.#path.blocked ? 1 : 0 } };
  }

  #established(result: ExchangeResult, outdated: boolean): void {
    const { inboundSpi, outboundSpi, lifetimes, path, suite, transcriptHash } = result;
    this.#suites.set(inboundSpi, suite);
    for (const [spi] of this.#suites) if (this.#suites.size > MAX_SUITES) this.#suites.delete(spi);
    const pair = { inboundSpi, outboundSpi };
    const run = Buffer.from(transcriptHash).toString('hex').slice(0, 16);
    const { udp, why } = path;
    this.#options.log('sa-installed', {
      peer: this.#id,
      inboundSpi,
      outboundSpi,
      run,
      in: udp === undefined ? 'esp' : 'udp',
      why,
      suite,
    });
    this.#tell({ type: 'established', pair, limits: lifetimes });
    if (outdated) this.renew();
    else this.#track(this.#watch.check(outboundSpi, 0));
  }

  #tell(event: LifecycleEvent): void {
    const before = this.#life.phase;
    for (const action of this.#life.handle(event, performance.now())) this.#do(action, event);
    const { phase } = this.#life;
    if (phase === 'down' && before !== phase) {
      this.#options.log('sa-ended', { peer: this.#id, after: event.type });
    }
    this.#schedule();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const at = this.#life.wakeAt();
    if (at === undefined || this.#closed.signal.aborted) return;
    const wait = Math.min(Math.max(Math.ceil(at - performance.now()), 1), MAX_TIMER);
    this.#timer = setTimeout(() => this.#tell({ type: 'tick' }), wait);
  }

  #do(action: LifecycleAction, { type }: LifecycleEvent): void {
    switch (action.do) {
      case 'exchange':
        this.#runs.want();
        break;
      case 'remove':
        if (type === 'established' && action.direction === 'out') this.#drain(action.spi);
        else this.#track(this.#plane.removeSa(this.#id, action.spi, action.direction));
        break;
      case 'notify-deleted':
        this.#track(this.#notify(action.inboundSpi));
        break;
      case 'probe':
        this.#track(this.#probe(action.outboundSpi));
        break;
      case 'move':
        this.#move();
        break;
      case 'reject-acquire':
        this.#track(this.#plane.rejectAcquire(this.#id));
        break;
    }
  }

  #drain(spi: number): void {
    const drain = setTimeout(() => {
      this.#drains.delete(drain);
      this.#track(this.#plane.removeSa(this.#id, spi, 'out'));
    }, DRAIN);
    this.#drains.add(drain);
  }

  #move(): void {
    // First the policies: what the next run allocates must be for the new ends.
    if (this.#underlay !== undefined) {
      this.#track(this.#plane.updatePeerUnderlay(this.#id, this.#underlay));
    }
    this.#runs.abandon();
  }

  async #notify(inboundSpi: number): Promise<void> {
    await this.#options.control.deleted(inboundSpi, this.#limit()).catch(() => {});
  }

  async #probe(outboundSpi: number): Promise<void> {
    const { control } = this.#options;
    // Without an answer the life cycle's own time limit decides.
    const known = await control.probe(outboundSpi, this.#limit()).catch(() => undefined);
    if (known === undefined) return;
    this.#tell({ type: 'probed', outboundSpi, known });
    // It is there and was not heard: whether it hears this end is looked at.
    if (known) await this.#watch.check(outboundSpi, undefined);
  }

  #touch(): void {
    this.#tell({ type: 'touched' });
    this.#options.touch();
  }

  #limit(): AbortSignal {
    return AbortSignal.any([this.#closed.signal, AbortSignal.timeout(this.#timing.probeTimeout)]);
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error) => {
        if (this.#closed.signal.aborted) return;
        this.#options.log('pair-failed', { peer: this.#id, why: String(error) });
      })
      .finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
  }
}
