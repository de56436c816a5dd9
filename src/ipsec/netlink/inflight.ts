/**
 * The requests that wait for the kernel, by sequence number.
 *
 *     request ──► in flight ──data*──► in flight ──ACK, DONE──► resolved
 *                     │                    └───────ERROR──────► rejected with what `refuse` makes
 *                     └──abort, time out──► rejected; what still comes for it is dropped, and
 *                                           its entry stays until the kernel has ended it
 */
import { getSystemErrorName } from 'node:util';
import { NetlinkError, type Refusal } from './errors.ts';
import {
  decodeAcknowledgement,
  type Message,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_NOOP,
} from './framing.ts';

/** What every call takes. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Time limit in milliseconds, 5,000 if not given. */
  readonly timeoutMs?: number | undefined;
}

export interface Answer<T> {
  readonly items: T[];
  /** NLM_F_DUMP_INTR was set: the table changed during the dump. */
  readonly interrupted: boolean;
}

interface Entry {
  /** The dump that this entry is for was interrupted. */
  interrupt(): void;
  data(message: Message): void;
  /** The kernel has ended it. */
  end(errno: number, detail: string | undefined): void;
  fail(error: unknown): void;
}

const DEFAULT_TIMEOUT_MS = 5_000;
/** Messages of one answer; a bound on memory, far over what the largest gateway holds. */
const MAX_ITEMS = 1_000_000;

export class InFlight {
  readonly #refuse: (refusal: Refusal) => NetlinkError;
  readonly #entries = new Map<number, Entry>();

  constructor(refuse: (refusal: Refusal) => NetlinkError) {
    this.#refuse = refuse;
  }

  /**
   * Registers `sequence` before it is sent.
   *
   * @param ended - runs once, when the kernel has ended the request or the socket failed.
   */
  expect<T>(
    sequence: number,
    operation: string,
    decode: (message: Message) => T,
    call: CallOptions,
    ended: () => void,
  ): Promise<Answer<T>> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer<T>>();
    const items: T[] = [];
    let interrupted = false;
    let settled = false;
    const settle = (act: () => void): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      call.signal?.removeEventListener('abort', aborted);
      act();
    };
    const aborted = (): void => settle(() => reject(call.signal?.reason));
    const limit = call.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const timer = setTimeout(() => settle(() => reject(timedOut(operation, limit))), limit);
    call.signal?.addEventListener('abort', aborted, { once: true });
    const remove = (): void => {
      if (this.#entries.delete(sequence)) ended();
    };
    this.#entries.set(sequence, {
      interrupt: () => {
        interrupted = true;
      },
      data: (message) => {
        if (settled) return;
        try {
          if (items.length >= MAX_ITEMS) throw tooMany(operation);
          items.push(decode(message));
        } catch (error) {
          settle(() => reject(error));
        }
      },
      end: (errno, detail) => {
        remove();
        settle(() => {
          if (errno === 0) resolve({ items, interrupted });
          else reject(this.#refuse({ operation, errno, errnoName: nameOf(errno), detail }));
        });
      },
      fail: (error) => {
        remove();
        settle(() => reject(error));
      },
    });
    if (call.signal?.aborted) aborted();
    return promise;
  }

  /** Hands a message to the request that it answers; one that answers none is dropped. */
  receive(message: Message): void {
    const entry = this.#entries.get(message.seq);
    if (entry === undefined || message.type === NLMSG_NOOP) return;
    const last = message.type === NLMSG_ERROR || message.type === NLMSG_DONE;
    // An NLMSG_ERROR has other meanings for the same bit.
    if (message.type !== NLMSG_ERROR && message.flags & NLM_F_DUMP_INTR) entry.interrupt();
    if (!last) {
      entry.data(message);
      return;
    }
    try {
      const { errno, detail } = decodeAcknowledgement(message);
      entry.end(errno, detail);
    } catch (error) {
      entry.fail(error);
    }
  }

  /** Ends `sequence` as done, if it is still in flight. */
  succeed(sequence: number): void {
    this.#entries.get(sequence)?.end(0, undefined);
  }

  fail(sequence: number, error: unknown): void {
    this.#entries.get(sequence)?.fail(error);
  }

  failAll(error: unknown): void {
    for (const entry of [...this.#entries.values()]) entry.fail(error);
  }
}

function nameOf(errno: number): string {
  const name = getSystemErrorName(-errno);
  return name.startsWith('E') ? name : `errno ${errno}`;
}

function timedOut(operation: string, limit: number): NetlinkError {
  return new NetlinkError(
    'ERR_NETLINK_TIMEOUT',
    `${operation}: no answer from the kernel within ${limit} ms; it may still have been done`,
    'Look at the kernel state before trying again, or give more time.',
  );
}

function tooMany(operation: string): NetlinkError {
  return new NetlinkError(
    'ERR_NETLINK_TOO_MANY',
    `${operation}: more than ${MAX_ITEMS} messages in answer`,
    'Ask for less at a time.',
  );
}
