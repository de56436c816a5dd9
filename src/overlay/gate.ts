/**
 * The gate of one overlay on one host: streams pass only between nodes that have shown each other
 * a credential that holds.
 *
 * ```
 *  dialler                                             listener
 *   │ new connection: Noise proves both PeerIDs            │
 *   │ /icvpn/<id>/hello/1.0.0   {my credential}            │ PeerID in it = PeerID of Noise?
 *   ├─────────────────────────────────────────────────────▶│ signed by a super-peer of the descriptor?
 *   │                                                      │ of this epoch, in its time, not revoked?
 *   │   {my credential} or {refused: why, epoch,           │ a node whose credential once held is told
 *   │                       descriptor?}                   │ the newest descriptor with the refusal
 *   │◀─────────────────────────────────────────────────────┤
 *   │ /icvpn/<id>/anything/1.0.0                           │ the same questions again, from memory
 *   ├─────────────────────────────────────────────────────▶│
 * ```
 *
 * Admission belongs to a connection, so that both ends forget it at the same moment. It is checked
 * again at each use: a credential that expired or was revoked, an epoch that moved on, a super-peer
 * that the owner struck off all take effect on connections that are open. The end that is cut off notices by a
 * stream that is reset, and says hello again.
 */
import type {
  AbortOptions,
  Connection,
  Ed25519PeerId,
  PeerId,
  Stream,
  StreamHandlerOptions,
} from '@libp2p/interface';
import { equals } from 'uint8arrays/equals';
import { Emitter } from '../events.ts';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import { Dialler, type Target } from './dialler.ts';
import { answer, greet, type HelloSide, type RefusalNews } from './hello.ts';
import { type Host, timeLimit } from './host.ts';
import { Meter, type MeterLimits } from './meter.ts';
import { GateError, notAdmitted, type Pass, PassRule, type Trust } from './pass.ts';
import { Passages } from './passage.ts';

export type { Target } from './dialler.ts';
export { GateError, type Pass, type Trust } from './pass.ts';

const HELLO = 'hello/1.0.0';
/** Milliseconds that a hello may take. */
const HELLO_LIMIT = 10_000;
/** Milliseconds between looks at whether those admitted still are. */
const RECHECK_INTERVAL = 2_000;
/** Hellos refused on one connection before it is closed. */
const MAX_REFUSALS = 3;

export interface GateOptions extends MeterLimits {
  /** The ServiceID, or the universal overlay's id. */
  readonly overlayId: Ed25519PeerId;
  /** This node's credential envelope; a super-peer named in the descriptor needs none. */
  readonly credential: () => Uint8Array | undefined;
  readonly trust: () => Trust;
  /** The newest descriptor, for nodes that are behind; they are told none when left out. */
  readonly descriptor?: () => Uint8Array;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
}

export type GatedHandler = (
  stream: Stream,
  connection: Connection,
  pass: Pass,
) => void | Promise<void>;

interface GateEvents {
  /** A node passed that had not passed on another connection. */
  admitted: [Ed25519PeerId];
  /** A node's last connection closed, or it may no longer pass. */
  left: [Ed25519PeerId];
  /** A descriptor that came with a refusal, from whomever: its signature is still to be checked. */
  descriptor: [Uint8Array];
  /** A node refused this one. */
  refused: [PeerId];
  /** A node refused this one and knows an older epoch than this one does. */
  behind: [PeerId];
}

export class Gate extends Emitter<GateEvents> {
  readonly overlayId: Ed25519PeerId;
  readonly #host: Host;
  readonly #options: GateOptions;
  readonly #rule: PassRule;
  readonly #life = new AbortController();
  readonly #dialler: Dialler;
  readonly #passages: Passages;
  readonly #meter: Meter;
  /** Hellos that this node began and that are under way. */
  readonly #hellos = new Map<Connection, Promise<Pass>>();
  readonly #refusals = new WeakMap<Connection, number>();
  /** Connections on which a stream was reset by the other end since the last hello. */
  readonly #doubted = new WeakSet<Connection>();
  /** Connections on which the descriptor was told. */
  readonly #told = new WeakSet<Connection>();
  readonly #suffixes = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(host: Host, options: GateOptions) {
    super();
    this.#host = host;
    this.#options = options;
    this.overlayId = options.overlayId;
    const { overlayId, trust, clock = Date.now } = options;
    this.#rule = new PassRule(overlayId, trust, clock);
    this.#dialler = new Dialler(host, this.#life.signal);
    this.#passages = new Passages({
      ...{ host, rule: this.#rule },
      onAdmitted: (peer) => this.tell('admitted', peer),
      onLeft: (peer) => this.tell('left', peer),
    });
    this.#meter = new Meter(options, clock);
  }

  get host(): Host {
    return this.#host;
  }

  /** Aborted when the gate closes. */
  get closed(): AbortSignal {
    return this.#life.signal;
  }

  protocol(suffix: string): string {
    return `/icvpn/${this.overlayId}/${suffix}`;
  }

  async start(): Promise<void> {
    await this.#host.libp2p.handle(
      this.protocol(HELLO),
      (stream, connection) => this.#answer(stream, connection),
      { maxInboundStreams: 2, maxOutboundStreams: 2 },
    );
    this.#timer = setInterval(() => this.recheck(), RECHECK_INTERVAL);
    this.#timer.unref();
    const unknow = this.#host.strangers.except((each) => this.#passages.of(each) !== undefined);
    this.#life.signal.addEventListener('abort', unknow, { once: true });
  }

  async close(): Promise<void> {
    if (this.#life.signal.aborted) return;
    const error = new GateError('ERR_GATE_CLOSED', `the gate of ${this.overlayId} is closed`);
    this.#life.abort(error);
    clearInterval(this.#timer);
    const protocols = [HELLO, ...this.#suffixes].map((each) => this.protocol(each));
    await this.#host.libp2p.unhandle(protocols);
    this.#passages.forgetAll(error);
    this.removeAllListeners();
  }

  /**
   * Makes sure that a node and this one have passed each other.
   *
   * @throws GateError
   */
  async admit(target: Target, options: AbortOptions = {}): Promise<Pass> {
    const connection = await this.#dialler.connect(target, options.signal);
    return this.#pass(connection, options.signal);
  }

  /** As `admit`. @returns the PeerID that the connection proved */
  async peerOf(target: Target, options: AbortOptions = {}): Promise<PeerId> {
    const connection = await this.#dialler.connect(target, options.signal);
    await this.#pass(connection, options.signal);
    return connection.remotePeer;
  }

  /** @returns what a connected node showed, while it holds */
  credentialOf(peer: PeerId): Opened<Credential> | undefined {
    const passes = this.#passages.to(peer).map(({ pass }) => pass);
    return passes.find((pass) => pass !== 'admitter');
  }

  /** @returns every connected node that passed */
  peers(): Ed25519PeerId[] {
    return this.#passages.peers();
  }

  isAdmitted(peer: PeerId): boolean {
    return this.#passages.to(peer).length > 0;
  }

  /** Serves `/icvpn/<overlay>/<suffix>` to nodes that passed; every other stream is reset. */
  async handle(
    suffix: string,
    handler: GatedHandler,
    options?: StreamHandlerOptions,
  ): Promise<void> {
    this.#suffixes.add(suffix);
    await this.#host.libp2p.handle(
      this.protocol(suffix),
      (stream, connection) => this.#serve(handler, stream, connection),
      options,
    );
  }

  async unhandle(suffix: string): Promise<void> {
    if (this.#suffixes.delete(suffix)) await this.#host.libp2p.unhandle(this.protocol(suffix));
  }

  /**
   * Opens a stream, after a hello where one is due.
   *
   * @throws GateError
   */
  async open(target: Target, suffix: string, options: AbortOptions = {}): Promise<Stream> {
    const connection = await this.#dialler.connect(target, options.signal);
    await this.#pass(connection, options.signal);
    const protocol = this.protocol(suffix);
    const stream = await this.#dialler.newStream(connection, protocol, options.signal);
    this.#passages.track(connection, stream);
    // The other end may have forgotten this one: the next stream begins with a hello, which says why.
    const doubt = (): void => void this.#doubted.add(connection);
    if (stream.status !== 'open') doubt();
    stream.addEventListener('close', ({ error, local }) => {
      if (error !== undefined && local !== true) doubt();
    });
    return stream;
  }

  /** Cuts off those who may no longer pass. Runs by itself; call it when `trust` has changed. */
  recheck(): void {
    this.#passages.recheck();
  }

  async #pass(connection: Connection, signal: AbortSignal | undefined): Promise<Pass> {
    const passage = this.#passages.of(connection);
    const stands = passage && !this.#doubted.has(connection);
    if (stands && same(passage.shown, this.#options.credential())) return passage.pass;
    const underWay = this.#hellos.get(connection);
    const hello = underWay ?? this.#greet(connection);
    if (underWay === undefined) {
      this.#hellos.set(connection, hello);
      const done = (): boolean => this.#hellos.delete(connection);
      hello.then(done, done);
    }
    return race(hello, signal);
  }

  async #greet(connection: Connection): Promise<Pass> {
    const signal = timeLimit(HELLO_LIMIT, this.#life.signal);
    const stream = await this.#dialler.newStream(connection, this.protocol(HELLO), signal);
    try {
      const side = this.#side(stream, connection, signal);
      this.#doubted.delete(connection);
      const pass = await greet(side, (news) => this.#hearNews(news, connection.remotePeer));
      this.#enter(connection, pass, side.shown);
      return pass;
    } catch (cause) {
      const what = `no hello with ${connection.remotePeer}`;
      const error = this.#dialler.failure(what, cause, undefined);
      stream.abort(error instanceof Error ? error : new Error('hello failed'));
      throw error;
    }
  }

  async #answer(stream: Stream, connection: Connection): Promise<void> {
    const tooMany = this.#meter.refusedHello(connection.remotePeer.toString());
    if (tooMany !== undefined) {
      stream.abort(tooMany);
      return;
    }
    const side = this.#side(stream, connection, timeLimit(HELLO_LIMIT, this.#life.signal));
    try {
      const { shown } = side;
      const fault = await answer(
        side,
        (pass) => this.#enter(connection, pass, shown),
        (credential) => this.#newsFor(connection, credential),
      );
      if (fault !== undefined) this.#countRefusal(connection, fault);
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error('hello failed'));
    }
  }

  /** The descriptor goes out once a connection: it may be a hundred times as long as what asks for it. */
  async #newsFor(connection: Connection, shown: Uint8Array | undefined): Promise<RefusalNews> {
    const { trust, descriptor } = this.#options;
    const standing = await this.#rule.onceHeld(connection.remotePeer, shown);
    if (standing === undefined) return { epoch: undefined, descriptor: undefined };
    const { epoch } = trust();
    const isNews = standing === 'once-held' && !this.#told.has(connection);
    if (descriptor === undefined || !isNews) return { epoch, descriptor: undefined };
    this.#told.add(connection);
    return { epoch, descriptor: descriptor() };
  }

  #hearNews({ epoch, descriptor }: RefusalNews, from: PeerId): void {
    if (this.#life.signal.aborted) return;
    if (descriptor !== undefined) this.emit('descriptor', descriptor);
    if (epoch !== undefined && epoch < this.#options.trust().epoch) this.emit('behind', from);
    this.emit('refused', from);
  }

  #enter(connection: Connection, pass: Pass, shown: Uint8Array | undefined): void {
    this.#life.signal.throwIfAborted();
    this.#passages.enter(connection, { pass, shown });
  }

  #side(stream: Stream, connection: Connection, signal: AbortSignal): HelloSide {
    const shown = this.#options.credential();
    const judge = this.#rule.judge.bind(this.#rule);
    return { stream, remote: connection.remotePeer, shown, judge, signal };
  }

  #countRefusal(connection: Connection, error: GateError): void {
    const refusals = (this.#refusals.get(connection) ?? 0) + 1;
    this.#refusals.set(connection, refusals);
    if (refusals >= MAX_REFUSALS) connection.abort(error);
  }

  async #serve(handler: GatedHandler, stream: Stream, connection: Connection): Promise<void> {
    // The answer to our own hello may still be under check while the other end already uses it.
    await this.#hellos.get(connection)?.catch(() => undefined);
    const passage = this.#passages.of(connection);
    if (passage === undefined) {
      stream.abort(notAdmitted(connection.remotePeer, 'it has not shown a credential that holds'));
      return;
    }
    const peer = connection.remotePeer.toString();
    const refusal = this.#meter.refusedStream(peer);
    if (refusal !== undefined) {
      stream.abort(refusal);
      return;
    }
    this.#passages.track(connection, stream);
    try {
      const served = handler(stream, connection, passage.pass);
      this.#meter.watch(stream, peer);
      await served;
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equals(a, b);
}

/** Waits for `work` no longer than `signal` allows; the work itself goes on. */
function race<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
