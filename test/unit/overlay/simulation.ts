/**
 * A network that runs on a seed: virtual time, a router that loses, duplicates, delays, reorders,
 * replays and corrupts messages and cuts the network in parts, and a log that draws what was sent.
 *
 * The same seed gives the same run, message by message. That rests on one rule: nothing in a
 * simulated node waits for anything but the simulation (signatures are made and checked at once), so
 * that after each event the node is at rest before the next event begins.
 */
import { setImmediate as rest } from 'node:timers/promises';

/** Mulberry32. @returns numbers from 0 to 1, 1 excluded */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface Faults {
  /** Chances, from 0 to 1, for each message. */
  readonly drop: number;
  readonly duplicate: number;
  readonly corrupt: number;
  /** The chance that an old message, of anybody, is sent again with this one. */
  readonly replay: number;
  /** Milliseconds; messages overtake each other when they differ. */
  readonly delay: { readonly least: number; readonly most: number };
}

export const CALM: Faults = {
  drop: 0,
  duplicate: 0,
  corrupt: 0,
  replay: 0,
  delay: { least: 1, most: 5 },
};

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** What travels: `bytes` are what the faults may damage, `label` is for the drawing. */
export interface Message {
  readonly from: number;
  readonly to: number;
  readonly label: string;
  readonly bytes: Uint8Array;
}

/** Old messages that may be replayed, and lines that the drawing shows. */
const MEMORY = 500;

export class Simulation {
  readonly seed: number;
  readonly random: () => number;
  faults: Faults = CALM;
  /** Milliseconds since 1970. */
  now = 1_800_000_000_000;
  readonly #began = this.now;
  /** A binary heap, soonest first. */
  readonly #events: Event[] = [];
  #order = 0;
  readonly #handlers = new Map<number, (message: Message) => void>();
  readonly #old: Message[] = [];
  readonly #lines: string[] = [];
  #parts: ReadonlyMap<number, number> = new Map();
  /** Messages that reached their handlers. */
  delivered = 0;

  constructor(seed: number) {
    this.seed = seed;
    this.random = randomFrom(seed);
  }

  /** A whole number from 0 to `below`, that excluded. */
  pick(below: number): number {
    return Math.floor(this.random() * below);
  }

  attach(node: number, handler: (message: Message) => void): void {
    this.#handlers.set(node, handler);
  }

  /** Cuts the network: messages pass only between nodes of one part. No parts: all is whole again. */
  partition(...parts: readonly (readonly number[])[]): void {
    this.#parts = new Map(parts.flatMap((part, i) => part.map((node) => [node, i] as const)));
    this.#note(parts.length === 0 ? '── whole ──' : `── cut in ${parts.length} parts ──`);
  }

  after(delay: number, run: () => void): void {
    push(this.#events, { at: this.now + delay, order: this.#order++, run });
  }

  send(message: Message): void {
    const { drop, duplicate, replay } = this.faults;
    this.#old.push(message);
    if (this.#old.length > MEMORY) this.#old.shift();
    if (this.random() < drop) this.#note(draw(message, 'LOST'));
    else this.#carry(message);
    if (this.random() < duplicate) this.#carry(message, 'again');
    const old = this.#old[this.pick(this.#old.length)];
    if (this.random() < replay && old) this.#carry(old, 'REPLAYED');
  }

  /** Runs for that many virtual milliseconds. */
  async run(duration: number): Promise<void> {
    const end = this.now + duration;
    await rest();
    for (let next = this.#events[0]; next && next.at <= end; next = this.#events[0]) {
      pop(this.#events);
      this.now = Math.max(this.now, next.at);
      next.run();
      await rest();
    }
    this.now = end;
  }

  /** Runs until `work` is done. @throws Error when nothing is left that could do it */
  async finish<T>(work: Promise<T>): Promise<T> {
    let done = false;
    const watched = work.finally(() => {
      done = true;
    });
    watched.catch(() => undefined);
    await rest();
    while (!done) {
      const next = pop(this.#events);
      if (next === undefined) throw new Error('the simulation waits for something outside it');
      this.now = Math.max(this.now, next.at);
      next.run();
      await rest();
    }
    return watched;
  }

  /** Runs `check`; when that fails the error tells the seed and draws the last messages. */
  async explain(check: () => Promise<void>): Promise<void> {
    try {
      await check();
    } catch (cause) {
      const what = cause instanceof Error ? cause.message : String(cause);
      const drawn = `seed ${this.seed}; the last messages:\n${this.flow()}`;
      throw new Error(`${what}\n\n${drawn}`, { cause });
    }
  }

  /** The last messages, one a line. */
  flow(): string {
    return this.#lines.join('\n');
  }

  #carry(message: Message, remark = ''): void {
    const { delay, corrupt } = this.faults;
    const { from, to } = message;
    if (this.#parts.get(from) !== this.#parts.get(to)) {
      this.#note(draw(message, `${remark} CUT`));
      return;
    }
    const time = delay.least + this.pick(delay.most - delay.least + 1);
    const damaged = this.random() < corrupt;
    const bytes = damaged ? this.#damage(message.bytes) : message.bytes;
    this.#note(draw(message, `${remark}${damaged ? ' DAMAGED' : ''} ${time} ms`));
    this.after(time, () => {
      this.delivered++;
      this.#handlers.get(to)?.({ ...message, bytes });
    });
  }

  #damage(bytes: Uint8Array): Uint8Array {
    const at = this.pick(bytes.length);
    return bytes.with(at, (bytes[at] ?? 0) ^ (1 + this.pick(255)));
  }

  #note(text: string): void {
    const time = ((this.now - this.#began) / 1000).toFixed(3).padStart(10);
    this.#lines.push(`${time}  ${text}`);
    if (this.#lines.length > MEMORY) this.#lines.shift();
  }
}

function draw({ from, to, label }: Message, remark: string): string {
  const name = (node: number): string => `n${String(node).padStart(3, '0')}`;
  return `${name(from)} ──${label.padEnd(14, '─')}─▶ ${name(to)}  ${remark.trim()}`;
}

function sooner(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: Event[], event: Event): void {
  let at = heap.length;
  heap.push(event);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || !sooner(event, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = event;
}

function pop(heap: Event[]): Event | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    const [left, right] = [heap[child], heap[child + 1]];
    if (left === undefined) break;
    let least = left;
    if (right !== undefined && sooner(right, left)) {
      least = right;
      child++;
    }
    if (!sooner(least, last)) break;
    heap[at] = least;
    at = child;
  }
  heap[at] = last;
  return first;
}
