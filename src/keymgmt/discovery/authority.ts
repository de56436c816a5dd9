/**
 * The attribute authority of one service, in a thread of its own: making a member's key takes 20 ms of
 * computing and a list's key 12 ms, which must not stop the event loop. The master key lives in that
 * thread only.
 *
 *     event loop                    thread
 *       | start, keys moved           |
 *       |---------------------------->| decode, overwrite the bytes
 *       | a job; the others queue     |
 *       |---------------------------->| compute
 *       |<----------------------------| key or ciphertext
 *       | close                       |
 *       |---------------------------->| overwrite the keys, end
 */
import { Worker } from 'node:worker_threads';
import type { AbortOptions } from '@libp2p/interface';
import { type MemberFacts, memberAttributes } from './attributes.ts';
import { AuthorityError } from './errors.ts';

/** Jobs that may wait; more are refused. */
export const MAX_WAITING_JOBS = 256;
/** How long a job may take, waiting included. */
export const JOB_TIMEOUT_MS = 10_000;
/** How long the thread may take to start. */
const START_TIMEOUT_MS = 120_000;
/** How long the thread may take to overwrite its keys before it is ended without. */
const CLOSE_TIMEOUT_MS = 2_000;

export type AuthorityJob =
  | { readonly task: 'key'; readonly attributes: Record<string, string> }
  | { readonly task: 'encrypt'; readonly policy: string; readonly plaintext: Uint8Array }
  | {
      readonly task: 'decrypt';
      /** Of a key that the thread makes once and keeps. */
      readonly attributes: Record<string, string>;
      readonly ciphertext: Uint8Array;
    }
  | { readonly task: 'close' };

export interface AuthorityKeys {
  readonly publicKey: Uint8Array;
  readonly masterKey: Uint8Array;
}

export type AuthorityAnswer =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly result: Uint8Array }
  | { readonly kind: 'failed'; readonly message: string };

interface Waiting {
  readonly job: AuthorityJob;
  resolve(result: Uint8Array): void;
  reject(error: unknown): void;
}

/** The event loop's end of the thread. Whoever starts it closes it. */
export class Authority {
  readonly #worker: Worker;
  readonly #queue: Waiting[] = [];
  readonly #ready: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #ended: Promise<void>;
  #running: Waiting | undefined;
  #stopped = false;

  private constructor(keys: AuthorityKeys) {
    // The file that is beside this one, whether it was compiled or not.
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    // Fresh memory, to be moved. slice() of a Buffer would be a view of memory that others use.
    const publicKey = Uint8Array.from(keys.publicKey);
    const masterKey = Uint8Array.from(keys.masterKey);
    this.#worker = new Worker(new URL(`./authority-thread.${extension}`, import.meta.url), {
      workerData: { publicKey, masterKey },
      transferList: [publicKey.buffer, masterKey.buffer],
    });
    this.#worker.on('message', (answer: AuthorityAnswer) => this.#receive(answer));
    this.#worker.on('error', (cause) => this.#stop(cause));
    this.#ended = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#stop(undefined);
        resolve();
      });
    });
  }

  /**
   * @param keys as icvpn/abe encodes them; copied, and for the caller to overwrite
   * @throws AuthorityError (ERR_AUTHORITY_STOPPED) if they are no keys, the signal's reason, or a
   *   TimeoutError after `limitMs`
   */
  static async start(
    keys: AuthorityKeys,
    options?: AbortOptions,
    limitMs = START_TIMEOUT_MS,
  ): Promise<Authority> {
    const authority = new Authority(keys);
    const signal = limited(options?.signal, limitMs);
    const abort = (): void => authority.#ready.reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    try {
      await authority.#ready.promise;
      return authority;
    } catch (error) {
      await authority.#worker.terminate();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /**
   * Like {@link start}, as often as it takes, each time with twice the limit: without an authority
   * nobody of its service is let in, however busy the machine is.
   *
   * @param options.late called each time that the limit was too short
   * @throws AuthorityError (ERR_AUTHORITY_STOPPED) if they are no keys, or the signal's reason
   */
  static async startPatiently(
    keys: AuthorityKeys,
    options: { readonly signal: AbortSignal; readonly late: () => void; readonly limitMs?: number },
  ): Promise<Authority> {
    const { signal, late } = options;
    const masterKey = Uint8Array.from(keys.masterKey);
    const own = { publicKey: Uint8Array.from(keys.publicKey), masterKey };
    try {
      for (let limitMs = options.limitMs ?? START_TIMEOUT_MS; ; limitMs *= 2) {
        try {
          return await Authority.start(own, { signal }, limitMs);
        } catch (error) {
          signal.throwIfAborted();
          if (!(error instanceof DOMException && error.name === 'TimeoutError')) throw error;
          late();
        }
      }
    } finally {
      masterKey.fill(0);
    }
  }

  /**
   * The key of a member, as `encodeAttributeKey` of icvpn/abe writes it; for the caller to overwrite.
   *
   * @throws AuthorityError, or the signal's reason
   */
  async issue(facts: MemberFacts, options?: AbortOptions): Promise<Uint8Array> {
    return this.#run({ task: 'key', attributes: memberAttributes(facts) }, options);
  }

  /**
   * `encrypt` of icvpn/abe.
   *
   * @throws AuthorityError, or the signal's reason
   */
  async encrypt(
    policy: string,
    plaintext: Uint8Array,
    options?: AbortOptions,
  ): Promise<Uint8Array> {
    return this.#run({ task: 'encrypt', policy, plaintext }, options);
  }

  /**
   * `decrypt` of icvpn/abe, with a key for these attributes that stays in the thread.
   *
   * @throws AuthorityError (ERR_AUTHORITY if it does not open), or the signal's reason
   */
  async decrypt(
    attributes: Record<string, string>,
    ciphertext: Uint8Array,
    options?: AbortOptions,
  ): Promise<Uint8Array> {
    return this.#run({ task: 'decrypt', attributes, ciphertext }, options);
  }

  /** Fails what waits, has the keys overwritten and ends the thread. */
  async close(): Promise<void> {
    this.#stop(undefined);
    this.#worker.postMessage({ task: 'close' } satisfies AuthorityJob);
    const timer = setTimeout(() => void this.#worker.terminate(), CLOSE_TIMEOUT_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  #run(job: AuthorityJob, options?: AbortOptions): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    const signal = limited(options?.signal);
    const waiting: Waiting = { job, resolve, reject };
    const abort = (): void => {
      // What is being computed runs to its end, unheard; what waits never runs.
      const at = this.#queue.indexOf(waiting);
      if (at >= 0) this.#queue.splice(at, 1);
      reject(signal.reason);
    };
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#stopped) return Promise.reject(stopped());
    if (this.#queue.length >= MAX_WAITING_JOBS) {
      return Promise.reject(
        new AuthorityError('ERR_AUTHORITY_BUSY', `${MAX_WAITING_JOBS} jobs already wait`),
      );
    }
    signal.addEventListener('abort', abort, { once: true });
    this.#queue.push(waiting);
    this.#next();
    return promise.finally(() => signal.removeEventListener('abort', abort));
  }

  #next(): void {
    if (this.#running !== undefined || this.#stopped) return;
    this.#running = this.#queue.shift();
    if (this.#running !== undefined) this.#worker.postMessage(this.#running.job);
  }

  #receive(answer: AuthorityAnswer): void {
    if (answer.kind === 'ready') {
      this.#ready.resolve();
      return;
    }
    const running = this.#running;
    this.#running = undefined;
    if (answer.kind === 'done') running?.resolve(answer.result);
    else running?.reject(new AuthorityError('ERR_AUTHORITY', answer.message));
    this.#next();
  }

  #stop(cause: unknown): void {
    this.#stopped = true;
    const error = stopped(cause);
    this.#ready.reject(error);
    this.#running?.reject(error);
    for (const waiting of this.#queue.splice(0)) waiting.reject(error);
  }
}

function stopped(cause?: unknown): AuthorityError {
  const why = cause instanceof Error ? `: ${cause.message}` : '';
  return new AuthorityError('ERR_AUTHORITY_STOPPED', `the authority's thread has stopped${why}`, {
    cause,
  });
}

function limited(signal: AbortSignal | undefined, limitMs = JOB_TIMEOUT_MS): AbortSignal {
  const timeout = AbortSignal.timeout(limitMs);
  return signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
}
