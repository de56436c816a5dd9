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
 *   │                     {my credential} or {refused: why}│
 *   │◀─────────────────────────────────────────────────────┤
 *   │ /icvpn/<id>/anything/1.0.0                           │ the same questions again, from memory
 *   ├─────────────────────────────────────────────────────▶│
 * ```
 *
 * Admission belongs to a connection, so that both ends forget it at the same moment. It is checked
 * again at each use: a credential that expired or was revoked, an epoch that moved on, a super-peer
 * that the owner struck off all take effect on connections that are open.
 */
import { EventEmitter } from 'node:events';
import type {
  AbortOptions,
  Connection,
  Ed25519PeerId,
  PeerId,
  Stream,
  StreamHandlerOptions,
} from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { equals } from 'uint8arrays/equals';
import { IcvpnError } from '../errors.ts';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import { Allowance, type AllowanceLimits } from './allowance.ts';
import { answer, greet, type HelloSide } from './hello.ts';
import { type Host, timeLimit } from './host.ts';
import { GateError, notAdmitted, type Pass, PassRule, type Trust } from './pass.ts';

export { GateError, type Pass, type Trust } from './pass.ts';

const HELLO = 'hello/1.0.0';
/** Milliseconds that a hello may take. */
const HELLO_LIMIT = 10_000;
/** Milliseconds that dialling may take. */
const DIAL_LIMIT = 15_000;
/** Milliseconds for the answer that shows that a connection lives. */
const PROBE_LIMIT = 5_000;
/** Milliseconds between looks at whether those admitted still are. */
const RECHECK_INTERVAL = 2_000;

/** Streams and bytes that one peer may send this node; far above what the protocols need. */
const STREAM_LIMITS = { perSecond: 64, burst: 1_024 };
const BYTE_LIMITS = { perSecond: 1024 * 1024, burst: 32 * 1024 * 1024 };
/** Peers whose use is remembered. */
const MAX_METERED = 8_192;
/** Hellos refused on one connection before it is closed. */
const MAX_REFUSALS = 3;

export interface GateOptions {
  /** The ServiceID, or the universal overlay's id. */
  readonly overlayId: Ed25519PeerId;
  /** This node's credential envelope; a super-peer named in the descriptor needs none. */
  readonly credential: () => Uint8Array | undefined;
  readonly trust: () => Trust;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
  /** Streams that one peer may open at this node. */
  readonly streams?: AllowanceLimits;
  /** Bytes that one peer may send on them. */
  readonly bytes?: AllowanceLimits;
}

/** Whom to talk to: somebody whose address is known already, or addresses that end in `/p2p/…`. */
export type Target = PeerId | Multiaddr | Multiaddr[];

export type GatedHandler = (
  stream: Stream,
  connection: Connection,
  pass: Pass,
) => void | Promise<void>;

interface Admission {
  readonly pass: Pass;
  /** What this node showed: when it has a newer one, it must be shown too. */
  readonly shown: Uint8Array | undefined;
}

interface GateEvents {
  /** A node passed that had not passed on another connection. */
  admitted: [Ed25519PeerId];
  /** A node's last connection closed, or it may no longer pass. */
  left: [Ed25519PeerId];
}

export class Gate extends EventEmitter<GateEvents> {
  readonly overlayId: Ed25519PeerId;
  readonly #host: Host;
  readonly #options: GateOptions;
  readonly #rule: PassRule;
  readonly #life = new AbortController();
  readonly #admissions = new Map<Connection, Admission>();
  /** Hellos that this node began and that are under way. */
  readonly #hellos = new Map<Connection, Promise<Pass>>();
  readonly #streams = new Map<Connection, Set<Stream>>();
  readonly #probed = new WeakSet<Connection>();
  readonly #refusals = new WeakMap<Connection, number>();
  readonly #streamAllowance: Allowance;
  readonly #byteAllowance: Allowance;
  readonly #suffixes = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(host: Host, options: GateOptions) {
    super();
    this.#host = host;
    this.#options = options;
    this.overlayId = options.overlayId;
    const { overlayId, trust, clock = Date.now } = options;
    const { streams = STREAM_LIMITS, bytes = BYTE_LIMITS } = options;
    this.#rule = new PassRule(overlayId, trust, clock);
    this.#streamAllowance = new Allowance(streams, clock, MAX_METERED);
    this.#byteAllowance = new Allowance(bytes, clock, MAX_METERED);
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
  }

  async close(): Promise<void> {
    if (this.#life.signal.aborted) return;
    const error = new GateError('ERR_GATE_CLOSED', `the gate of ${this.overlayId} is closed`);
    this.#life.abort(error);
    clearInterval(this.#timer);
    const protocols = [HELLO, ...this.#suffixes].map((each) => this.protocol(each));
    await this.#host.libp2p.unhandle(protocols);
    for (const connection of [...this.#admissions.keys()]) this.#forget(connection, error);
    this.removeAllListeners();
  }

  /**
   * Makes sure that a node and this one have passed each other.
   *
   * @throws GateError
   */
  async admit(target: Target, options: AbortOptions = {}): Promise<Pass> {
    return this.#pass(await this.#connect(target, options.signal), options.signal);
  }

  /** As `admit`. @returns the PeerID that the connection proved */
  async peerOf(target: Target, options: AbortOptions = {}): Promise<PeerId> {
    const connection = await this.#connect(target, options.signal);
    await this.#pass(connection, options.signal);
    return connection.remotePeer;
  }

  /** @returns what a connected node showed, while it holds */
  credentialOf(peer: PeerId): Opened<Credential> | undefined {
    for (const connection of this.#host.libp2p.getConnections(peer)) {
      const pass = this.#admission(connection)?.pass;
      if (pass !== undefined && pass !== 'admitter') return pass;
    }
    return undefined;
  }

  /** @returns every connected node that passed */
  peers(): Ed25519PeerId[] {
    const peers = new Map<string, Ed25519PeerId>();
    for (const connection of [...this.#admissions.keys()]) {
      const peer = connection.remotePeer;
      if (peer.type === 'Ed25519' && this.#admission(connection)) peers.set(peer.toString(), peer);
    }
    return [...peers.values()];
  }

  isAdmitted(peer: PeerId): boolean {
    return this.#host.libp2p
      .getConnections(peer)
      .some((connection) => this.#admission(connection) !== undefined);
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
    const connection = await this.#connect(target, options.signal);
    await this.#pass(connection, options.signal);
    const stream = await this.#newStream(connection, suffix, options.signal);
    this.#track(connection, stream);
    return stream;
  }

  /** Cuts off those who may no longer pass. Runs by itself; call it when `trust` has changed. */
  recheck(): void {
    for (const [connection, { pass }] of [...this.#admissions]) {
      const fault = this.#rule.fault(connection.remotePeer, pass);
      if (fault !== undefined) this.#forget(connection, fault);
    }
  }

  async #connect(target: Target, signal: AbortSignal | undefined): Promise<Connection> {
    const limit = timeLimit(DIAL_LIMIT, signal, this.#life.signal);
    try {
      return await this.#host.libp2p.dial(target, { signal: limit });
    } catch (cause) {
      throw this.#failure(`cannot connect to ${String(target)}`, cause, signal);
    }
  }

  async #newStream(
    connection: Connection,
    suffix: string,
    signal: AbortSignal | undefined,
  ): Promise<Stream> {
    const limit = timeLimit(HELLO_LIMIT, signal, this.#life.signal);
    try {
      return await connection.newStream([this.protocol(suffix)], { signal: limit });
    } catch (cause) {
      if (limit.aborted) this.#probe(connection);
      throw this.#failure(`${connection.remotePeer} does not serve ${suffix}`, cause, signal);
    }
  }

  /** Closes a connection over which nothing comes back any more, so that the next dial makes a new one. */
  #probe(connection: Connection): void {
    if (this.#probed.has(connection) || this.#life.signal.aborted) return;
    this.#probed.add(connection);
    const signal = timeLimit(PROBE_LIMIT, this.#life.signal);
    this.#host.libp2p.services.ping
      .ping(connection.remotePeer, { signal })
      .then(() => undefined)
      .catch((error: Error) => connection.abort(error))
      .finally(() => this.#probed.delete(connection));
  }

  /** What to throw for an error from libp2p: the caller's own abort passes through unchanged. */
  #failure(text: string, cause: unknown, signal: AbortSignal | undefined): unknown {
    if (cause instanceof IcvpnError) return cause;
    if (signal?.aborted) return signal.reason;
    if (this.#life.signal.aborted) return this.#life.signal.reason;
    const why = cause instanceof Error ? cause.message : String(cause);
    return new GateError('ERR_UNREACHABLE', `${text}: ${why}`, { cause });
  }

  async #pass(connection: Connection, signal: AbortSignal | undefined): Promise<Pass> {
    const admission = this.#admission(connection);
    if (admission && same(admission.shown, this.#options.credential())) return admission.pass;
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
    const stream = await this.#newStream(connection, HELLO, signal);
    try {
      const side = this.#side(stream, connection, signal);
      const pass = await greet(side);
      this.#enter(connection, { pass, shown: side.shown });
      return pass;
    } catch (cause) {
      const error = this.#failure(`no hello with ${connection.remotePeer}`, cause, undefined);
      stream.abort(error instanceof Error ? error : new Error('hello failed'));
      throw error;
    }
  }

  async #answer(stream: Stream, connection: Connection): Promise<void> {
    const side = this.#side(stream, connection, timeLimit(HELLO_LIMIT, this.#life.signal));
    try {
      const { shown } = side;
      const fault = await answer(side, (pass) => this.#enter(connection, { pass, shown }));
      if (fault !== undefined) this.#countRefusal(connection, fault);
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error('hello failed'));
    }
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

  #admission(connection: Connection): Admission | undefined {
    const admission = this.#admissions.get(connection);
    if (admission === undefined) return undefined;
    const fault = this.#rule.fault(connection.remotePeer, admission.pass);
    if (fault === undefined) return admission;
    this.#forget(connection, fault);
    return undefined;
  }

  #enter(connection: Connection, admission: Admission): void {
    const peer = connection.remotePeer;
    if (this.#life.signal.aborted || connection.status !== 'open' || peer.type !== 'Ed25519') {
      throw new GateError('ERR_UNREACHABLE', `the connection to ${peer} closed`);
    }
    const known = this.#remembers(peer);
    if (!this.#admissions.has(connection)) {
      connection.addEventListener('close', () => this.#forget(connection), { once: true });
    }
    this.#admissions.set(connection, admission);
    if (!known) this.emit('admitted', peer);
  }

  #forget(connection: Connection, error?: GateError): void {
    if (!this.#admissions.delete(connection)) return;
    if (error) for (const stream of this.#streams.get(connection) ?? []) stream.abort(error);
    this.#streams.delete(connection);
    const peer = connection.remotePeer;
    if (peer.type === 'Ed25519' && !this.#remembers(peer)) this.emit('left', peer);
  }

  #remembers(peer: PeerId): boolean {
    return this.#host.libp2p.getConnections(peer).some((each) => this.#admissions.has(each));
  }

  async #serve(handler: GatedHandler, stream: Stream, connection: Connection): Promise<void> {
    // The answer to our own hello may still be under check while the other end already uses it.
    await this.#hellos.get(connection)?.catch(() => undefined);
    const admission = this.#admission(connection);
    if (admission === undefined) {
      stream.abort(notAdmitted(connection.remotePeer, 'it has not shown a credential that holds'));
      return;
    }
    const peer = connection.remotePeer.toString();
    if (!this.#streamAllowance.take(peer, 1)) {
      stream.abort(new GateError('ERR_TOO_MUCH', `${peer} opens too many streams`));
      return;
    }
    this.#track(connection, stream);
    try {
      const served = handler(stream, connection, admission.pass);
      this.#meter(stream, peer);
      await served;
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #meter(stream: Stream, peer: string): void {
    // Data waits in the stream for its first listener: the meter must not be that one. The handlers
    // of this project begin to read at once.
    if (stream.listenerCount('message') === 0) return;
    stream.addEventListener('message', ({ data }) => {
      if (this.#byteAllowance.take(peer, data.byteLength)) return;
      stream.abort(new GateError('ERR_TOO_MUCH', `${peer} sends too many bytes`));
    });
  }

  #track(connection: Connection, stream: Stream): void {
    const streams = this.#streams.get(connection) ?? new Set();
    this.#streams.set(connection, streams.add(stream));
    stream.addEventListener('close', () => streams.delete(stream), { once: true });
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
