/**
 * One question put to one super-peer after the other until one answers, and what each of the others said.
 *
 * ```
 *  ask ─▶ super-peer 1 ─ refuses ──┐
 *     ─▶ super-peer 2 ─ silent ────┼─▶ SuperPeersError: a cause for each, the code that they share
 *     ─▶ super-peer 3 ─ unreachable┘
 * ```
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { IcvpnError } from '../errors.ts';
import type { SuperPeerAddress } from '../records/bootstrap.ts';
import type { Log } from './log.ts';

/** One super-peer gets this long before the next is tried. */
const TRY_TIMEOUT_MS = 15_000;

/** What one super-peer answered instead of what it was asked for, or why it could not be asked. */
export interface Failure {
  readonly superPeer: Ed25519PeerId;
  readonly error: Error;
  /** How long the try took, in milliseconds. */
  readonly took: number;
}

const UNREACHABLE = {
  code: 'ERR_SUPER_PEERS_UNREACHABLE',
  remedy:
    'check that they run and that their addresses in the bootstrap data can be dialled from here',
};
const MIXED = {
  code: 'ERR_SUPER_PEERS',
  remedy: 'see to the cause of one of them; one super-peer that answers is enough',
};

/**
 * No super-peer did what it was asked for. The message has the cause of each. The code and the remedy
 * are those that all causes share; causes of reaching nobody do not count where another is known.
 */
export class SuperPeersError extends IcvpnError {
  readonly failures: readonly Failure[];

  /** @param what they did not do, such as `admits this VM` */
  constructor(what: string, failures: readonly Failure[]) {
    const { code, remedy } = common(failures);
    const causes = failures.map(({ superPeer, error }) => `${superPeer}: ${causeOf(error)}`);
    const said = causes.length === 0 ? 'none is known' : causes.join('; ');
    super(code, `no super-peer of the service ${what} (${said})`, remedy, {
      cause: failures.at(-1)?.error,
    });
    this.failures = failures;
  }
}

/** @param error of a dial or a conversation. @returns its cause in words */
export function causeOf(error: Error): string {
  if (error instanceof IcvpnError) return error.message;
  if (error.name === 'TimeoutError') return 'no answer in time';
  const inner = error instanceof AggregateError ? error.errors.at(-1) : error.cause;
  const why = inner instanceof Error && error.message === '' ? inner.message : error.message;
  return `could not be reached: ${why}`;
}

function common(failures: readonly Failure[]): { code: string; remedy: string } {
  const known = failures.map(({ error }) => error).filter((each) => each instanceof IcvpnError);
  const [first] = known;
  if (first === undefined) return UNREACHABLE;
  return known.every(({ code }) => code === first.code) ? first : MIXED;
}

export interface Question<T> {
  readonly superPeers: readonly SuperPeerAddress[];
  /** What is asked for, as in "no super-peer … admits this VM". */
  readonly what: string;
  /** The event that a failure is logged as. */
  readonly event: string;
  readonly ask: (at: SuperPeerAddress, signal: AbortSignal) => Promise<T>;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export interface Answered<T> {
  readonly answer: T;
  readonly at: SuperPeerAddress;
}

/**
 * Asks each super-peer once, in their order, at each of its addresses until one leads to it.
 *
 * @throws SuperPeersError when none answered, the signal's reason when it came
 */
export async function askSuperPeers<T>(question: Question<T>): Promise<Answered<T>> {
  const { superPeers, what, event, ask, log, signal: stop } = question;
  const failures: Failure[] = [];
  for (const at of superPeers) {
    stop.throwIfAborted();
    const began = performance.now();
    try {
      const signal = AbortSignal.any([stop, AbortSignal.timeout(TRY_TIMEOUT_MS)]);
      return { answer: await untilAborted(ask(at, signal), signal), at };
    } catch (cause) {
      stop.throwIfAborted();
      const error = cause instanceof Error ? cause : new Error(String(cause));
      failures.push({ superPeer: at.peerId, error, took: performance.now() - began });
      log(event, { superPeer: at.peerId, why: causeOf(error) });
    }
  }
  throw new SuperPeersError(what, failures);
}

/** Not every dial heeds its signal at once. The work is left to end by the same signal. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  return Promise.race([work, promise]).finally(() => signal.removeEventListener('abort', onAbort));
}
