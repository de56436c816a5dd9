/** How often a line that is not a terminal hears of the progress within a step, in milliseconds. */
const PERIOD = 20_000;

/** Tells a person what a long task is at: `icvpn lab: [4:05] compiling: 612 of about 1500 files`. */
export class Progress {
  readonly #out: NodeJS.WriteStream;
  readonly #begun = performance.now();
  #step = '';
  #shown = 0;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  /** Begins the next step. */
  step(name: string): void {
    this.#step = name;
    this.#shown = performance.now();
    this.note(name);
  }

  /** How far the step is. On a terminal it replaces what was said before. */
  at(detail: string): void {
    const now = performance.now();
    const period = this.#out.isTTY ? 200 : PERIOD;
    if (now - this.#shown < period) return;
    this.#shown = now;
    const end = this.#out.isTTY ? '\r' : '\n';
    this.#out.write(`${this.#prefix()}${this.#step}: ${detail}${end}`);
  }

  /** A line that stays. */
  note(text: string): void {
    this.#out.write(`${this.#prefix()}${text}\n`);
  }

  /** Time since the beginning, as `4:05`. */
  elapsed(): string {
    const seconds = Math.floor((performance.now() - this.#begun) / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  }

  #prefix(): string {
    const clear = this.#out.isTTY ? '\x1b[K' : '';
    return `${clear}icvpn lab: [${this.elapsed()}] `;
  }
}
