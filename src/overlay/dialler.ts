/** Connections and streams to other nodes, each within a time limit, with typed errors. */
import type { Connection, PeerId, Stream } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { IcvpnError } from '../errors.ts';
import { MessageStreamError } from '../wire/errors.ts';
import { type Host, timeLimit } from './host.ts';
import { GateError } from './pass.ts';

/** Milliseconds that dialling may take. */
const DIAL_LIMIT = 15_000;
/** Milliseconds until a stream is open. */
const STREAM_LIMIT = 10_000;
/** Milliseconds for the answer that shows that a connection lives. */
const PROBE_LIMIT = 5_000;

/** Whom to talk to: somebody whose address is known already, or addresses that end in `/p2p/…`. */
export type Target = PeerId | Multiaddr | Multiaddr[];

export class Dialler {
  readonly #host: Host;
  readonly #life: AbortSignal;
  readonly #probed = new WeakSet<Connection>();

  /** @param life ends whatever is under way */
  constructor(host: Host, life: AbortSignal) {
    this.#host = host;
    this.#life = life;
  }

  /** @throws GateError, or the signal's reason */
  async connect(target: Target, signal: AbortSignal | undefined): Promise<Connection> {
    const limit = timeLimit(DIAL_LIMIT, signal, this.#life);
    try {
      return await this.#host.libp2p.dial(target, { signal: limit });
    } catch (cause) {
      throw this.failure(`cannot connect to ${String(target)}`, cause, signal);
    }
  }

  /** @throws GateError, or the signal's reason */
  async newStream(
    connection: Connection,
    protocol: string,
    signal: AbortSignal | undefined,
  ): Promise<Stream> {
    const limit = timeLimit(STREAM_LIMIT, signal, this.#life);
    try {
      return await connection.newStream([protocol], { signal: limit });
    } catch (cause) {
      if (limit.aborted) this.#probe(connection);
      throw this.failure(`${connection.remotePeer} does not serve ${protocol}`, cause, signal);
    }
  }

  /** What to throw for an error from libp2p: the caller's own abort passes through unchanged. */
  failure(text: string, cause: unknown, signal: AbortSignal | undefined): unknown {
    if (cause instanceof IcvpnError && !(cause instanceof MessageStreamError)) return cause;
    if (signal?.aborted) return signal.reason;
    if (this.#life.aborted) return this.#life.reason;
    const why = cause instanceof Error ? cause.message : String(cause);
    return new GateError('ERR_UNREACHABLE', `${text}: ${why}`, { cause });
  }

  /** Closes a connection over which nothing comes back any more, so that the next dial makes a new one. */
  #probe(connection: Connection): void {
    if (this.#probed.has(connection) || this.#life.aborted) return;
    this.#probed.add(connection);
    const signal = timeLimit(PROBE_LIMIT, this.#life);
    this.#host.libp2p.services.ping
      .ping(connection.remotePeer, { signal })
      .then(() => undefined)
      .catch((error: Error) => connection.abort(error))
      .finally(() => this.#probed.delete(connection));
  }
}
