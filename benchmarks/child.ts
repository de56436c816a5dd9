/** Calls between a benchmark and the processes that it starts: JSON over Node's own channel. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

/** Milliseconds that one call may take. */
export const CALL_LIMIT = 120_000;

/** Each takes and gives plain JSON; `Shapes` names both. */
export type Shapes<T> = { readonly [K in keyof T]: readonly [argument: unknown, result: unknown] };

export class Child<T extends Shapes<T>> implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<string>>();
  #next = 0;

  /** @param program a script that calls `offer`; it may be made to yield the processor to others */
  constructor(program: URL) {
    this.#process = fork(program, { execArgv: ['--expose-gc'], stdio: ['ignore', 2, 2, 'ipc'] });
    this.#process.on('message', (text) => {
      const answer: { id: number; result: string; error?: string } = JSON.parse(String(text));
      const call = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (answer.error === undefined) call?.resolve(answer.result);
      else call?.reject(new Error(answer.error));
    });
    this.#process.on('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`it ended with ${code}`));
      this.#waiting.clear();
    });
  }

  async call<K extends keyof T & string>(name: K, argument: T[K][0]): Promise<T[K][1]> {
    const id = this.#next++;
    const answer = Promise.withResolvers<string>();
    this.#waiting.set(id, answer);
    const timer = setTimeout(() => answer.reject(new Error(`${name} takes too long`)), CALL_LIMIT);
    this.#process.send(JSON.stringify({ id, name, argument }));
    try {
      return JSON.parse(await answer.promise);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }
}

/** The child's end. It ends when its parent does. */
export function offer<T extends Shapes<T>>(
  calls: {
    readonly [K in keyof T]: (argument: T[K][0]) => Promise<T[K][1]>;
  },
): void {
  process.on('disconnect', () => process.exit());
  process.on('message', async (text) => {
    const message = JSON.parse(String(text));
    const { id, argument } = message;
    const name: keyof T = message.name;
    try {
      const result = await calls[name](argument);
      process.send?.(JSON.stringify({ id, result: JSON.stringify(result ?? null) }));
    } catch (error) {
      const why = error instanceof Error ? error.stack : String(error);
      process.send?.(JSON.stringify({ id, error: `${String(name)}: ${why}` }));
    }
  });
}
