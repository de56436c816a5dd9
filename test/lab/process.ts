import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

/**
 * A long-lived program of a test, spoken to in lines. Disposing of it ends it (SIGKILL) and waits until it has gone.
 */
export class TestProcess implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #command: string;
  readonly #lines: AsyncIterator<string>;
  readonly #exited: Promise<unknown>;
  #stderr = '';

  constructor(file: string, args: readonly string[]) {
    this.#command = [file, ...args].join(' ');
    this.#child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    // Handled here, so that a program that cannot be started does not end the whole test run;
    // whoever waits for its lines or its end learns of it there.
    this.#exited = once(this.#child, 'exit').catch((error: unknown) => {
      this.#stderr += String(error);
    });
    this.#child.stdin.on('error', () => {}); // EPIPE: it ended; its exit code tells
    this.#child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.#stderr = (this.#stderr + chunk).slice(-64 * 1024);
    });
  }

  /** The process id, for signals: `process.kill(child.pid, 'SIGTERM')`. */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.#command}: did not start`);
    return this.#child.pid;
  }

  /** The end of what it has written to stderr so far, at most 64 KiB. */
  get stderr(): string {
    return this.#stderr;
  }

  /**
   * Waits until it has said `text` on stderr, as tcpdump says `listening on`.
   *
   * @throws if it ends first or has not said it after `timeoutMs`
   */
  async said(text: string, timeoutMs = 60_000): Promise<void> {
    const limit = AbortSignal.timeout(timeoutMs);
    while (!this.#stderr.includes(text)) {
      const next = once(this.#child.stderr, 'data', { signal: limit });
      const end = this.ended().then((code) => {
        throw this.#failure(`ended (${code}) before it said '${text}'`);
      });
      try {
        await Promise.race([next, end]);
      } catch (error) {
        if (!limit.aborted) throw error;
        // After a jump of the clock this comes before what lies in the pipe already.
        await setImmediate();
        if (this.#stderr.includes(text)) return;
        throw this.#failure(`did not say '${text}' within ${timeoutMs} ms`);
      }
    }
  }

  /** Sends a value as one JSON line. */
  send(value: unknown): void {
    this.#child.stdin.write(`${JSON.stringify(value)}\n`);
  }

  /**
   * The next line of its stdout.
   *
   * @throws if it ends first or says nothing for `timeoutMs`, with what it said on stderr
   */
  async line(timeoutMs = 60_000): Promise<string> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      late.reject(this.#failure(`said nothing for ${timeoutMs} ms`));
    }, timeoutMs);
    try {
      const { value, done } = await Promise.race([this.#lines.next(), late.promise]);
      if (!done) return value;
      throw this.#failure(`ended (${await this.ended()}) where a line was awaited`);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The next line, parsed as JSON. */
  async receive(timeoutMs?: number): Promise<unknown> {
    return JSON.parse(await this.line(timeoutMs));
  }

  #failure(what: string): Error {
    return new Error(`${this.#command}: ${what}: ${this.#stderr}`);
  }

  /** Waits for its end; returns the exit code, or the name of the signal that ended it. */
  async ended(): Promise<number | string> {
    await this.#exited;
    return this.#child.exitCode ?? this.#child.signalCode ?? 'not started';
  }

  /** Asks it to end with SIGTERM and waits until it has. */
  async terminate(): Promise<number | string> {
    this.#child.kill('SIGTERM');
    return this.ended();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
    // A process it left behind may hold the other ends; do not wait for that one.
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
  }
}
