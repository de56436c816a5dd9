/**
 * The audit log of a super-peer: whom it admitted, refused, renewed and revoked, and why.
 *
 * One JSON object a line, appended and never changed. Each carries the hash of the line before, so
 * that a line altered, taken out or put in shows:
 *
 * ```
 * {"sequence":7,"time":"2026-01-02T03:04:05.678Z","event":"refused",…,"previous":"<hash of line 6>"}
 * hash of a line = SHA-256 of its bytes without the newline;  of the line before the first: 64 zeros
 * ```
 *
 * What a chain cannot show is that its end was cut off; who wants to know notes the head (sequence and
 * hash) elsewhere now and then. Causes stand here in full, and secrets never.
 *
 * Who is refused over and over must not fill the disk: from one site, for one service and cause, ten
 * refusals a minute get a line each, and the rest of that minute one line with their count.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { IcvpnError } from '../errors.ts';
import { originOf } from '../shares/origin.ts';

export const AUDIT_EVENTS = [
  'admitted',
  'refused',
  'renewed',
  'revoked',
  'guessing',
  'duplicate',
] as const;
export type AuditEvent = (typeof AUDIT_EVENTS)[number];

/** What is logged. All of it is public or the operator's own. */
export interface AuditEntry {
  readonly event: AuditEvent;
  readonly serviceId: string;
  /** The remote's PeerID, as Noise proved it. */
  readonly peerId?: string | undefined;
  readonly vmid?: string | undefined;
  /** IP address that it came from. */
  readonly address?: string | undefined;
  /** Why, for refusals and revocations. */
  readonly cause?: string | undefined;
  /** Of the credential, in hex. */
  readonly serial?: string | undefined;
  /** Of the ticket, in hex. */
  readonly ticket?: string | undefined;
  /** How many refusals the line stands for; absent for one. */
  readonly count?: number | undefined;
}

export interface AuditRecord extends AuditEntry {
  readonly sequence: number;
  /** ISO 8601, UTC. */
  readonly time: string;
  /** Hash of the line before, hex. */
  readonly previous: string;
}

/** The end of a log: where its chain stands. */
export interface AuditHead {
  /** Of the last record; 0 when there is none. */
  readonly sequence: number;
  /** Of the last line, hex. */
  readonly hash: string;
}

export class AuditError extends IcvpnError {
  /** The line that is wrong, from 1. */
  readonly line: number;

  constructor(path: string, line: number, reason: string, options?: ErrorOptions) {
    super(
      'ERR_AUDIT',
      `audit log ${path}, line ${line}: ${reason}`,
      'the log was altered or damaged from this line on: compare it with a copy',
      options,
    );
    this.line = line;
  }
}

const GENESIS: AuditHead = { sequence: 0, hash: '0'.repeat(64) };
const MAX_LINE = 4096;

const hashOf = (line: string): string => createHash('sha256').update(line).digest('hex');

/** The writing end. One process writes one log. */
export class AuditLog {
  readonly #file: FileHandle;
  readonly #clock: () => number;
  readonly #repeats: Repeats;
  #head: AuditHead;
  #writing: Promise<void> = Promise.resolve();
  /** The write after that, once something waits for it. */
  #next: Promise<void> | undefined;
  readonly #waiting: AuditEntry[] = [];
  #timer: NodeJS.Timeout;

  /** Bytes of the file up to the head. */
  #size: number;

  private constructor(file: FileHandle, size: number, head: AuditHead, clock: () => number) {
    this.#file = file;
    this.#size = size;
    this.#head = head;
    this.#clock = clock;
    this.#repeats = new Repeats(clock);
    this.#timer = setInterval(() => void this.#flush(), WINDOW);
    this.#timer.unref();
  }

  /**
   * Opens a log, making it (mode 0600) when there is none. The end of a last line that was cut off
   * by a crash is taken away: its writing was never acknowledged.
   *
   * @throws AuditError when the log that is there does not verify
   */
  static async open(path: string, clock: () => number = Date.now): Promise<AuditLog> {
    const file = await open(path, 'a+', 0o600);
    try {
      const { size } = await file.stat();
      const whole = await wholeLines(file, size);
      if (whole < size) await file.truncate(whole);
      return new AuditLog(file, whole, await verifyAudit(path), clock);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get head(): AuditHead {
    return this.#head;
  }

  /** Resolves when the entry is in the file (or, for a refusal among many, counted). */
  append(entry: AuditEntry): Promise<void> {
    if (entry.event === 'refused' && this.#repeats.absorb(entry)) return Promise.resolve();
    return this.#write([entry]);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#write(this.#repeats.drain(true)).finally(() => this.#file.close());
  }

  #flush(): Promise<void> {
    // A write that fails is reported by the append that waits for it; here nobody waits.
    return this.#write(this.#repeats.drain(false)).catch(() => undefined);
  }

  /** What comes while a write is under way shares the next one. */
  #write(entries: AuditEntry[]): Promise<void> {
    if (entries.length === 0) return this.#next ?? this.#writing;
    this.#waiting.push(...entries);
    this.#next ??= this.#writing.then(
      () => this.#writeWaiting(),
      () => this.#writeWaiting(),
    );
    return this.#next;
  }

  #writeWaiting(): Promise<void> {
    this.#next = undefined;
    const entries = this.#waiting.splice(0);
    this.#writing = this.#writeLines(entries);
    return this.#writing;
  }

  async #writeLines(entries: readonly AuditEntry[]): Promise<void> {
    let head = this.#head;
    let text = '';
    for (const entry of entries) {
      const time = new Date(this.#clock()).toISOString();
      const sequence = head.sequence + 1;
      const line = JSON.stringify({ sequence, time, ...entry, previous: head.hash });
      head = { sequence, hash: hashOf(line) };
      text += `${line}\n`;
    }
    try {
      await this.#file.appendFile(text);
    } catch (error) {
      // A full disk took part of it: what follows must not be appended to half a line.
      await this.#file.truncate(this.#size);
      throw error;
    }
    this.#size += Buffer.byteLength(text);
    this.#head = head;
  }
}

const WINDOW = 60_000;
const LINES_PER_WINDOW = 10;
const KEYS = 1000;

/** Counts refusals that do not get a line each. */
class Repeats {
  readonly #clock: () => number;
  readonly #seen = new Map<
    string,
    { since: number; lines: number; more: number; last: AuditEntry }
  >();

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** @returns true when the entry was counted and is not to be written now */
  absorb(entry: AuditEntry): boolean {
    // Beyond the bound all sites share one count, so that changing one's site is no way around it.
    const site = this.#seen.size < KEYS ? originOf(entry.address ?? '').site : 'others';
    const service = this.#seen.size < KEYS ? entry.serviceId : 'others';
    const key = `${site} ${service} ${entry.cause}`;
    const known = this.#seen.get(key);
    if (known === undefined) {
      this.#seen.set(key, { since: this.#clock(), lines: 1, more: 0, last: entry });
      return false;
    }
    if (known.lines < LINES_PER_WINDOW) {
      known.lines++;
      return false;
    }
    known.more++;
    known.last = entry;
    return true;
  }

  /** @returns one entry for each window that is over, and for all when `everything` */
  drain(everything: boolean): AuditEntry[] {
    const due: AuditEntry[] = [];
    for (const [key, { since, more, last }] of this.#seen) {
      if (!everything && this.#clock() - since < WINDOW) continue;
      this.#seen.delete(key);
      if (more > 0) due.push({ ...last, count: more });
    }
    return due;
  }
}

/** @returns the length of the file up to the end of its last whole line */
async function wholeLines(file: FileHandle, size: number): Promise<number> {
  const tail = Buffer.alloc(Math.min(size, MAX_LINE));
  await file.read(tail, 0, tail.length, size - tail.length);
  const end = tail.lastIndexOf(0x0a);
  // A tail without any newline is no cut line but a damaged log: verification will tell.
  return end < 0 && size > tail.length ? size : size - tail.length + end + 1;
}

export interface AuditFilter {
  /** Records at or after this time. */
  readonly since?: Date;
  /** Records before this time. */
  readonly until?: Date;
  readonly vmid?: string;
  readonly event?: AuditEvent;
  readonly serviceId?: string;
}

/**
 * Reads a log from its beginning and checks the chain as it goes.
 *
 * @throws AuditError at the first line that does not follow from the one before
 */
export async function* readAudit(
  path: string,
  filter: AuditFilter = {},
): AsyncGenerator<AuditRecord> {
  for await (const { record } of chain(path)) if (matches(record, filter)) yield record;
}

/** @returns the head of a log whose whole chain holds. @throws AuditError */
export async function verifyAudit(path: string): Promise<AuditHead> {
  let head = GENESIS;
  for await (const link of chain(path)) head = link.head;
  return head;
}

async function* chain(path: string): AsyncGenerator<{ record: AuditRecord; head: AuditHead }> {
  const input = createReadStream(path);
  let head = GENESIS;
  let number = 0;
  try {
    await once(input, 'open');
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      number++;
      const record = parse(path, number, line);
      if (record.previous !== head.hash || record.sequence !== head.sequence + 1) {
        throw new AuditError(path, number, 'it does not follow from the line before');
      }
      head = { sequence: record.sequence, hash: hashOf(line) };
      yield { record, head };
    }
  } catch (cause) {
    if (cause instanceof AuditError) throw cause;
    throw new AuditError(path, number, 'it cannot be read', { cause });
  } finally {
    input.destroy();
  }
}

function matches(record: AuditRecord, filter: AuditFilter): boolean {
  const time = Date.parse(record.time);
  return (
    (filter.since === undefined || time >= filter.since.getTime()) &&
    (filter.until === undefined || time < filter.until.getTime()) &&
    (filter.vmid === undefined || record.vmid === filter.vmid) &&
    (filter.event === undefined || record.event === filter.event) &&
    (filter.serviceId === undefined || record.serviceId === filter.serviceId)
  );
}

function parse(path: string, number: number, line: string): AuditRecord {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new AuditError(path, number, 'it is no JSON', { cause });
  }
  if (!isRecord(value)) throw new AuditError(path, number, 'it is no audit record');
  return value;
}

const TEXTS = ['peerId', 'vmid', 'address', 'cause', 'serial', 'ticket'] as const;

function isRecord(value: unknown): value is AuditRecord {
  if (typeof value !== 'object' || value === null) return false;
  const fields = new Map<string, unknown>(Object.entries(value));
  const text = (name: string): boolean => typeof fields.get(name) === 'string';
  const optional = (name: string): boolean => !fields.has(name) || text(name);
  const count = fields.get('count');
  return (
    Number.isSafeInteger(fields.get('sequence')) &&
    text('time') &&
    !Number.isNaN(Date.parse(String(fields.get('time')))) &&
    AUDIT_EVENTS.some((event) => event === fields.get('event')) &&
    text('serviceId') &&
    text('previous') &&
    TEXTS.every(optional) &&
    (count === undefined || Number.isSafeInteger(count))
  );
}
