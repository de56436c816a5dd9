/** Waiting that is not silent: how long a start waits for super-peers, and what it says meanwhile. */
import type { Log } from './log.ts';

/** Milliseconds for which a start waits, where nothing else is said: a VM may boot before its network is up. */
export const PATIENCE_MS = 120_000;
/** Milliseconds to the first line of a start that waits, and between two, at most (P34). */
const LINE_MS = { first: 1_500, most: 4_500 };

/** Says every few seconds what is waited for, from its making to its end. */
export class Waiting implements Disposable {
  #timer: NodeJS.Timeout;
  #why = 'no answer yet';

  /** @param what is waited for */
  constructor(what: string, log: Log) {
    const began = performance.now();
    const say = (): void => {
      const seconds = Math.round((performance.now() - began) / 1000);
      log('waiting', { for: what, seconds, why: this.#why });
      this.#timer = setTimeout(say, LINE_MS.most);
    };
    this.#timer = setTimeout(say, LINE_MS.first);
  }

  /** Why it has not come yet. */
  because(why: string): void {
    this.#why = why;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
