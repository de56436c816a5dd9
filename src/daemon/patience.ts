/** Waiting that is not silent: how long a start waits for super-peers, and what it says meanwhile. */
import type { Log } from './log.ts';

/** Milliseconds for which a start waits, where nothing else is said: a VM may boot before its network is up. */
export const PATIENCE_MS = 120_000;
/** Milliseconds between two lines of a start that waits, at most (P34). */
const LINE_MS = 4_500;

/** Says every few seconds what is waited for, from its making to its end. */
export class Waiting implements Disposable {
  readonly #timer: NodeJS.Timeout;
  #why = 'no answer yet';

  /** @param what is waited for */
  constructor(what: string, log: Log) {
    const began = performance.now();
    this.#timer = setInterval(() => {
      const seconds = Math.round((performance.now() - began) / 1000);
      log('waiting', { for: what, seconds, why: this.#why });
    }, LINE_MS);
  }

  /** Why it has not come yet. */
  because(why: string): void {
    this.#why = why;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
