/**
 * The server's half of SRP in worker threads.
 *
 * OpenSSL needs 240 ms to take the group and each admission 1 ms of exponentiation; neither may
 * stop the event loop that serves everybody else. Node's own asynchronous `crypto.diffieHellman` is
 * no way out: it needs keys imported on the event loop, and importing costs an exponentiation each.
 */
import { Worker } from 'node:worker_threads';
import { IcvpnError } from '../../errors.ts';
import type { SrpLogin, SrpSession } from './engine.ts';

export interface SrpStart {
  readonly task: 'start';
  readonly suite: number;
  readonly verifier: Uint8Array;
  readonly b: Uint8Array;
}

export interface SrpFinish {
  readonly task: 'finish';
  readonly suite: number;
  readonly login: SrpLogin;
  readonly verifier: Uint8Array;
  readonly b: Uint8Array;
  readonly B: Uint8Array;
  readonly A: Uint8Array;
  readonly M1: Uint8Array;
}

export type SrpJob = SrpStart | SrpFinish;

export type SrpResult =
  | { readonly task: 'start'; readonly B: Uint8Array }
  | { readonly task: 'finish'; readonly session: SrpSession | undefined };

interface Waiting {
  readonly worker: Worker;
  resolve(result: SrpResult): void;
  reject(error: Error): void;
}

interface Answer {
  readonly id: number;
  readonly result?: SrpResult;
  readonly error?: Error;
}

export class SrpPoolError extends IcvpnError {
  constructor(message: string, options?: ErrorOptions) {
    super(
      'ERR_SRP_POOL',
      message,
      'restart the super-peer; report it if it happens again',
      options,
    );
  }
}

/** The caller bounds how many jobs wait: one per half-open admission. */
export class SrpPool {
  readonly #workers: Worker[] = [];
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #closed = false;

  /** @param threads how many worker threads to run */
  constructor(threads = 1) {
    for (let i = 0; i < threads; i++) this.#workers.push(this.#start(i));
  }

  /** B = kv + g^b */
  async start(job: Omit<SrpStart, 'task'>): Promise<Uint8Array> {
    const result = await this.#run({ ...job, task: 'start' });
    if (result.task !== 'start') throw new SrpPoolError('the worker mixed up its answers');
    return result.B;
  }

  /** @returns the session, or undefined when A is forbidden or M1 does not prove the secret */
  async finish(job: Omit<SrpFinish, 'task'>): Promise<SrpSession | undefined> {
    const result = await this.#run({ ...job, task: 'finish' });
    if (result.task !== 'finish') throw new SrpPoolError('the worker mixed up its answers');
    return result.session;
  }

  /** How many jobs are being worked at or wait for it. */
  get pending(): number {
    return this.#waiting.size;
  }

  /** Ends the threads; jobs still waiting fail. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #run(job: SrpJob): Promise<SrpResult> {
    const id = this.#next++;
    const worker = this.#workers[id % this.#workers.length];
    if (this.#closed || worker === undefined) {
      return Promise.reject(new SrpPoolError('the SRP workers are stopped'));
    }
    return new Promise((resolve, reject) => {
      if (worker.threadId < 0) {
        reject(new SrpPoolError('the SRP worker ended and did not start again'));
        return;
      }
      this.#waiting.set(id, { worker, resolve, reject });
      worker.ref();
      worker.postMessage({ id, job });
    });
  }

  #start(index: number): Worker {
    // The file that is beside this one, whether it was compiled or not.
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const worker = new Worker(new URL(`./worker.${extension}`, import.meta.url));
    let answered = false;
    worker.on('message', ({ id, result, error }: Answer) => {
      answered = true;
      const waiting = this.#waiting.get(id);
      if (!this.#waiting.delete(id) || waiting === undefined) return;
      if (![...this.#waiting.values()].some((each) => each.worker === worker)) worker.unref();
      if (result !== undefined) waiting.resolve(result);
      else waiting.reject(new SrpPoolError('SRP failed', { cause: error }));
    });
    worker.on('error', (cause) => this.#lose(worker, cause));
    worker.on('exit', () => {
      this.#lose(worker, undefined);
      // One that never did anything would not the next time either: its jobs wait for no new one.
      if (answered && !this.#closed) this.#workers[index] = this.#start(index);
    });
    // Last, since a listener for messages keeps the process alive again.
    worker.unref();
    return worker;
  }

  #lose(worker: Worker, cause: unknown): void {
    for (const [id, waiting] of this.#waiting) {
      if (waiting.worker !== worker) continue;
      this.#waiting.delete(id);
      waiting.reject(new SrpPoolError('an SRP worker ended', { cause }));
    }
  }
}
