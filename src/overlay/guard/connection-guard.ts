/**
 * Stands between a connection's socket and libp2p, for as long as the connection lasts.
 *
 * ```
 *  socket ──▶ HandshakeGuard ──▶ multistream-select, Noise
 *                                      │ decrypted
 *                                      ▼
 *             FrameGuard ──▶ Yamux ──▶ multistream-select ──▶ the protocols
 * ```
 *
 * Bytes pass unchanged. What breaks a rule ends the connection before libp2p sees it.
 */
import { Socket } from 'node:net';
import type {
  MessageStream,
  MultiaddrConnection,
  StreamMuxer,
  StreamMuxerFactory,
} from '@libp2p/interface';
import { Allowance } from '../allowance.ts';
import { GuardError } from './errors.ts';
import { FrameGuard } from './frames.ts';
import { HandshakeGuard } from './handshake.ts';
import type { StrangerMemory } from './stranger-memory.ts';

/** Bytes that a connection may have in open streams before the other end has proved anything (P5). */
const STRANGER_BYTES = 64 * 1024;
/** Bytes that wait for a remote that does not read. */
const STRANGER_UNSENT = 512 * 1024;
const UNSENT = 32 * 1024 * 1024;
/** Streams that the other end may open. */
const STRANGER_STREAMS = { perSecond: 8, burst: 128 };
const STREAMS = { perSecond: 512, burst: 8_192 };
/** Pings of Yamux, which no node of this project sends; each is answered. */
const PINGS = { perSecond: 1, burst: 64 };
/** Milliseconds for which a connection that is known is not asked about again. */
const KNOWN_FOR = 2_000;

export interface ConnectionGuardOptions {
  /** Whether the other end has proved that it belongs here. */
  readonly isKnown: () => boolean;
  /** Whether a protocol is served here. */
  readonly serves: (protocol: string) => boolean;
  readonly memory: StrangerMemory;
  /** A connection ends for a broken rule. */
  readonly onRefusal: () => void;
}

export class ConnectionGuard {
  readonly #connection: MultiaddrConnection;
  readonly #options: ConnectionGuardOptions;
  readonly #dialled: boolean;
  readonly #pings = new Allowance(PINGS, performance.now.bind(performance), 1);
  readonly #streams = {
    stranger: new Allowance(STRANGER_STREAMS, performance.now.bind(performance), 1),
    known: new Allowance(STREAMS, performance.now.bind(performance), 1),
  };
  #secured: MessageStream | undefined;
  #knownUntil = 0;

  constructor(connection: MultiaddrConnection, options: ConnectionGuardOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#dialled = connection.direction === 'outbound';
    this.#watchHandshake();
    connection.addEventListener('close', () => options.memory.set(this, 0), { once: true });
  }

  end(reason: Error = new GuardError('holds too much memory')): void {
    this.#options.onRefusal();
    this.#connection.abort(reason);
  }

  /** @returns the same multiplexers, behind a guard. Call it when the handshake is over */
  multiplexer(factory: StreamMuxerFactory): StreamMuxerFactory {
    return {
      protocol: factory.protocol,
      createStreamMuxer: (secured) => this.#multiplex(factory, secured),
    };
  }

  #watchHandshake(): void {
    const socket = 'socket' in this.#connection ? this.#connection.socket : undefined;
    if (!(socket instanceof Socket)) return;
    const guard = new HandshakeGuard(this.#dialled);
    const onData = (data: Buffer): void => {
      const over = this.#secured !== undefined || this.#connection.status !== 'open';
      if (over) socket.off('data', onData);
      else this.#guarded(() => guard.push(data));
    };
    // Before libp2p's own listener, which finds the connection closed if this one ends it.
    socket.prependListener('data', onData);
  }

  #multiplex(factory: StreamMuxerFactory, secured: MessageStream): StreamMuxer {
    this.#secured = secured;
    const guard = new FrameGuard({
      dialled: this.#dialled,
      serves: this.#options.serves,
      open: () => muxer.streams.map(({ id }) => Number(id)),
      onPing: () => {
        if (!this.#pings.take('', 1)) throw new GuardError('pings without end');
      },
      onStream: () => {
        const streams = this.#isKnown() ? this.#streams.known : this.#streams.stranger;
        if (!streams.take('', 1)) throw new GuardError('opens streams without end');
      },
    });
    secured.maxWriteBufferLength = this.#dialled ? UNSENT : STRANGER_UNSENT;
    // Before the multiplexer's own listener, which is not called when this one ends the connection.
    secured.addEventListener('message', (event) => {
      const { data } = event;
      const pieces = data instanceof Uint8Array ? [data] : data;
      const passed = this.#guarded(() => {
        guard.push(pieces);
        this.#account(guard);
      });
      if (!passed) event.stopImmediatePropagation();
    });
    const muxer = factory.createStreamMuxer(secured);
    return muxer;
  }

  /** Holds a stranger to its share. */
  #account(guard: FrameGuard): void {
    if (this.#isKnown()) {
      this.#options.memory.set(this, 0);
      return;
    }
    if (guard.held > STRANGER_BYTES / 4) guard.release();
    if (guard.held > STRANGER_BYTES)
      throw new GuardError('sends too much before it has proved anything');
    this.#options.memory.set(this, guard.held);
  }

  #isKnown(): boolean {
    if (this.#dialled) return true;
    const now = performance.now();
    if (now < this.#knownUntil) return true;
    const known = this.#options.isKnown();
    if (known) this.#knownUntil = now + KNOWN_FOR;
    if (this.#secured) this.#secured.maxWriteBufferLength = known ? UNSENT : STRANGER_UNSENT;
    return known;
  }

  /** @returns whether `look` found nothing; the connection is closed if not */
  #guarded(look: () => void): boolean {
    try {
      look();
    } catch (error) {
      this.end(error instanceof Error ? error : new Error(String(error)));
    }
    return this.#connection.status === 'open';
  }
}
