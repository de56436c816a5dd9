/**
 * Requests over one netlink socket: many in flight, each with a sequence number, a time limit and
 * a signal; dumps one at a time, as the kernel wants it.
 */
import { NetlinkError, type Refusal } from './errors.ts';
import {
  concat,
  decodeMessages,
  encodeMessage,
  type Message,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_REQUEST,
} from './framing.ts';
import { type Answer, type CallOptions, InFlight } from './inflight.ts';
import { NetlinkSocket } from './socket.ts';

export interface Request {
  /** In words, for errors: `add state`. */
  readonly operation: string;
  readonly type: number;
  readonly flags?: number;
  readonly body: Uint8Array;
}

export interface NetlinkClientOptions {
  readonly protocol: number;
  /** Makes the error for a refusal, with the protocol's own codes and remedies. */
  readonly refuse: (refusal: Refusal) => NetlinkError;
}

/** Requests in one datagram. */
const BATCH = 64;
const RECEIVE_BUFFER = 1 << 20;
/** How often an interrupted dump is started. */
const DUMP_ATTEMPTS = 8;

export class NetlinkClient {
  readonly #socket: NetlinkSocket;
  readonly #inFlight: InFlight;
  #turn: Promise<void> = Promise.resolve();
  #sequence = 0;
  #closed = false;

  constructor({ protocol, refuse }: NetlinkClientOptions) {
    this.#inFlight = new InFlight(refuse);
    this.#socket = new NetlinkSocket({
      protocol,
      receiveBuffer: RECEIVE_BUFFER,
      onDatagram: (datagram) => this.#receive(datagram),
      onOverrun: () => this.#inFlight.failAll(broken(new Error('answers were lost'))),
      onError: (error) => this.#inFlight.failAll(broken(error)),
    });
  }

  /**
   * Sends a request and collects what the kernel answers until it acknowledges, each message
   * through `decode` at once, so that no buffer with keys outlives its datagram.
   *
   * @throws what `refuse` makes; NetlinkError `ERR_NETLINK_TIMEOUT`, `ERR_NETLINK_CLOSED`,
   * `ERR_NETLINK_BROKEN`; MalformedError; the signal's reason.
   */
  async request<T>(
    request: Request,
    decode: (message: Message) => T,
    call: CallOptions = {},
  ): Promise<T[]> {
    this.#check(call);
    const sequence = this.#next();
    const answer = this.#inFlight.expect(sequence, request.operation, decode, call, nothing);
    this.#send([sequence], [this.#encode(request, sequence, NLM_F_ACK)]);
    return (await answer).items;
  }

  /**
   * Sends many requests, a datagram of 64 at a time, of which only the last asks for an
   * acknowledgement: the kernel works through a datagram in order and reports every error.
   *
   * @returns per request its error, or undefined where it was done.
   * @throws `ERR_NETLINK_CLOSED`; the signal's reason, with the datagrams before it done.
   */
  async batch(
    requests: readonly Request[],
    call: CallOptions = {},
  ): Promise<(NetlinkError | undefined)[]> {
    const outcome: (NetlinkError | undefined)[] = [];
    for (let at = 0; at < requests.length; at += BATCH) {
      this.#check(call);
      const part = requests.slice(at, at + BATCH).map((request) => {
        const sequence = this.#next();
        return { request, sequence };
      });
      const last = part.at(-1)?.sequence;
      const sequences = part.map(({ sequence }) => sequence);
      const others = (): void => sequences.forEach((each) => void this.#inFlight.succeed(each));
      const answers = part.map(({ request, sequence }) =>
        this.#inFlight.expect(
          sequence,
          request.operation,
          nothing,
          call,
          sequence === last ? others : nothing,
        ),
      );
      const settled = Promise.allSettled(answers);
      this.#send(
        sequences,
        part.map(({ request, sequence }) =>
          this.#encode(request, sequence, sequence === last ? NLM_F_ACK : 0),
        ),
      );
      for (const result of await settled) {
        if (result.status === 'fulfilled') outcome.push(undefined);
        else if (result.reason instanceof NetlinkError) outcome.push(result.reason);
        else throw result.reason;
      }
    }
    return outcome;
  }

  /** Dumps a table, anew while the kernel says that it changed meanwhile. @throws as {@link request}. */
  async dump<T>(
    request: Request,
    decode: (message: Message) => T,
    call: CallOptions = {},
  ): Promise<T[]> {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const { items, interrupted } = await this.#dumpOnce(request, decode, call);
      if (!interrupted) return items;
    }
    throw new NetlinkError(
      'ERR_NETLINK_INTERRUPTED',
      `${request.operation}: the table changed during each of ${DUMP_ATTEMPTS} attempts`,
      'Try again when fewer changes are under way.',
    );
  }

  /** The number by which events tell whose request caused them. */
  get port(): number {
    return this.#socket.port;
  }

  /** Fails what is in flight and closes the socket. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
    this.#inFlight.failAll(closed());
  }

  async #dumpOnce<T>(
    request: Request,
    decode: (message: Message) => T,
    call: CallOptions,
  ): Promise<Answer<T>> {
    const before = this.#turn;
    const turn = Promise.withResolvers<void>();
    this.#turn = turn.promise;
    await before;
    let answer: Promise<Answer<T>>;
    try {
      this.#check(call);
      const sequence = this.#next();
      // Even if the caller gives up, the next dump waits until the kernel has ended this one.
      answer = this.#inFlight.expect(sequence, request.operation, decode, call, turn.resolve);
      this.#send([sequence], [this.#encode(request, sequence, NLM_F_DUMP)]);
    } catch (error) {
      turn.resolve();
      throw error;
    }
    return answer;
  }

  #check({ signal }: CallOptions): void {
    signal?.throwIfAborted();
    if (this.#closed) throw closed();
  }

  #next(): number {
    this.#sequence = (this.#sequence % 0xffffffff) + 1;
    return this.#sequence;
  }

  #encode({ type, flags = 0, body }: Request, seq: number, extra: number): Uint8Array {
    return encodeMessage({
      type,
      flags: flags | NLM_F_REQUEST | extra,
      seq,
      port: this.#socket.port,
      body,
    });
  }

  #send(sequences: readonly number[], messages: readonly Uint8Array[]): void {
    const datagram = Buffer.from(concat(messages).buffer);
    this.#socket.send(datagram, (error) => {
      if (error === undefined) return;
      for (const sequence of sequences) this.#inFlight.fail(sequence, broken(error));
    });
    for (const message of messages) message.fill(0);
  }

  #receive(datagram: Uint8Array): void {
    try {
      for (const message of decodeMessages(datagram)) this.#inFlight.receive(message);
    } catch (error) {
      this.#inFlight.failAll(error);
    }
  }
}

function nothing(): void {}

function broken(cause: Error): NetlinkError {
  return new NetlinkError(
    'ERR_NETLINK_BROKEN',
    `netlink socket failed: ${cause.message}`,
    'Look at the kernel state before trying again: what was in flight may or may not be done.',
    { cause },
  );
}

function closed(): NetlinkError {
  return new NetlinkError('ERR_NETLINK_CLOSED', 'netlink client is closed', 'Open a new one.');
}
