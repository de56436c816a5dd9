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
 * A line that says what was given or taken (admitted, renewed, revoked) is on the disk when `append` resolves. A file
 * of 16 MiB becomes an older one, and the chain goes on in the next (`audit-files.ts`). A start reads the last line
 * only; where that is damaged, or lines are missing at the end, the log goes on with a line that says so, and
 * `icvpn audit`, which reads everything, shows where. Causes stand here in full, and secrets never.
 *
 * What a chain cannot show is that its end was cut off by somebody who also wrote the head; who wants to know notes
 * the head (sequence and hash) elsewhere now and then.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FileError, syncDirectory } from '../files/atomic.ts';
import { auditFiles, readHead, retireFile, writeHead } from './audit-files.ts';
import {
  type AuditEntry,
  AuditError,
  type AuditEvent,
  type AuditHead,
  GENESIS,
  hashOf,
  MAX_LINE,
  parse,
} from './audit-record.ts';
import { Repeats, WINDOW } from './audit-repeats.ts';

export { type AuditFilter, readAudit, verifyAudit } from './audit-reader.ts';
export {
  AUDIT_EVENTS,
  type AuditEntry,
  AuditError,
  type AuditEvent,
  type AuditHead,
  type AuditRecord,
} from './audit-record.ts';

/** Bytes from which on a file becomes an older one. */
const MAX_FILE = 16 * 1024 * 1024;
const FULL = 'the file before is full';
/** Lines that acknowledge something. */
const DURABLE: readonly AuditEvent[] = ['admitted', 'renewed', 'revoked', 'segment', 'gap'];

export interface AuditOptions {
  /** Bytes from which on a file becomes an older one; 16 MiB if left out. */
  readonly maxFile?: number;
}

/** The writing end. One process writes one log. */
export class AuditLog {
  readonly #path: string;
  readonly #clock: () => number;
  readonly #repeats: Repeats;
  readonly #maxFile: number;
  #file: FileHandle;
  /** Bytes of the file up to the head. */
  #size: number;
  #head: AuditHead;
  /** The head that stands in its own file. */
  #noted: AuditHead | undefined;
  /** Lines that could not be written since the last one that could. */
  #lost = 0;
  #writing: Promise<void> = Promise.resolve();
  /** The write after that, once something waits for it. */
  #next: Promise<void> | undefined;
  readonly #waiting: AuditEntry[] = [];
  readonly #timer: NodeJS.Timeout;

  private constructor(
    at: { path: string; file: FileHandle; size: number; head: AuditHead },
    clock: () => number,
    options: AuditOptions,
  ) {
    this.#path = at.path;
    this.#file = at.file;
    this.#size = at.size;
    this.#head = at.head;
    this.#clock = clock;
    this.#maxFile = options.maxFile ?? MAX_FILE;
    this.#repeats = new Repeats(clock);
    this.#timer = setInterval(() => void this.#flush(), WINDOW);
    this.#timer.unref();
  }

  /**
   * Opens a log, making it (mode 0600) when there is none. The end of a last line that was cut off by a crash is taken
   * away: its writing was never acknowledged. A log that lacks more than that goes on with a `segment` line.
   *
   * @throws FileError
   */
  static async open(
    path: string,
    clock: () => number = Date.now,
    options: AuditOptions = {},
  ): Promise<AuditLog> {
    const noted = await readHead(path);
    const file = await openLog(path);
    const {
      size,
      head = size === 0 ? await endBefore(path) : undefined,
      fault,
    } = await endOf(path, file);
    const log = new AuditLog({ path, file, size, head: head ?? noted ?? GENESIS }, clock, options);
    log.#noted = noted;
    try {
      if (fault !== undefined) await log.#retire();
      const why = fault ?? missing(head, noted) ?? (size === 0 && head ? FULL : undefined);
      if (why !== undefined) {
        if (noted && noted.sequence > log.#head.sequence) log.#head = noted;
        await log.#write([{ event: 'segment', serviceId: '-', cause: why }]);
      }
      return log;
    } catch (error) {
      clearInterval(log.#timer);
      await log.#file.close();
      throw error;
    }
  }

  get head(): AuditHead {
    return this.#head;
  }

  /**
   * Resolves when the entry is in the file (on the disk, when it acknowledges something), or is counted.
   *
   * @throws FileError `ERR_DISK_FULL` and others; the log then tells how many lines it lacks
   */
  append(entry: AuditEntry): Promise<void> {
    if (this.#repeats.absorb(entry)) return Promise.resolve();
    return this.#write([entry]);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    try {
      await this.#write(this.#repeats.drain(true));
      await this.#noteHead();
    } finally {
      await this.#file.close();
    }
  }

  /** A write that fails is reported by the append that waits for it; here nobody waits. */
  async #flush(): Promise<void> {
    await this.#write(this.#repeats.drain(false)).catch(() => undefined);
    await this.#noteHead().catch(() => undefined);
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
    this.#writing = this.#writeLines(entries).catch((error: unknown) => {
      this.#lost += entries.length;
      throw error;
    });
    return this.#writing;
  }

  async #writeLines(entries: readonly AuditEntry[]): Promise<void> {
    const all = [...entries];
    if (this.#lost > 0) all.unshift({ event: 'gap', serviceId: '-', count: this.#lost });
    if (this.#size >= this.#maxFile) {
      await this.#retire();
      all.unshift({ event: 'segment', serviceId: '-', cause: FULL });
    }
    const { text, head } = this.#linesOf(all);
    try {
      await this.#file.appendFile(text);
      if (all.some(({ event }) => DURABLE.includes(event))) await this.#file.datasync();
    } catch (cause) {
      // A full disk took part of it: what follows must not be appended to half a line.
      await this.#file.truncate(this.#size);
      throw new FileError(this.#path, cause);
    }
    this.#size += Buffer.byteLength(text);
    this.#head = head;
    this.#lost = 0;
  }

  #linesOf(entries: readonly AuditEntry[]): { text: string; head: AuditHead } {
    let head = this.#head;
    let text = '';
    for (const entry of entries) {
      const time = new Date(this.#clock()).toISOString();
      const sequence = head.sequence + 1;
      const line = JSON.stringify({ sequence, time, ...entry, previous: head.hash });
      head = { sequence, hash: hashOf(line) };
      text += `${line}\n`;
    }
    return { text, head };
  }

  /** Goes on in a new file. */
  async #retire(): Promise<void> {
    await retireFile(this.#path, this.#head.sequence, this.#clock());
    await this.#file.close();
    this.#file = await openLog(this.#path);
    this.#size = 0;
  }

  /** The lines first: a head that is ahead of them would tell of a fault that is none. */
  async #noteHead(): Promise<void> {
    await this.#writing.catch(() => undefined);
    const head = this.#head;
    if (head.sequence === (this.#noted?.sequence ?? 0)) return;
    await this.#file.datasync();
    await writeHead(this.#path, head);
    this.#noted = head;
  }
}

/** @throws FileError */
async function openLog(path: string): Promise<FileHandle> {
  try {
    const file = await open(path, 'a+', 0o600);
    await syncDirectory(dirname(path));
    return file;
  } catch (cause) {
    throw new FileError(path, cause);
  }
}

interface End {
  /** Bytes. */
  readonly size: number;
  /** Of the last line; undefined when there is none that can be read. */
  readonly head?: AuditHead;
  /** Why the last line cannot be read. */
  readonly fault?: string;
}

/** Where the newest of the older files ends: a crash may have come before the first line of the next. */
async function endBefore(path: string): Promise<AuditHead | undefined> {
  const older = (await auditFiles(path)).at(-2);
  if (older === undefined) return undefined;
  await using file = await open(older, 'r+');
  return (await endOf(older, file)).head;
}

async function endOf(path: string, file: FileHandle): Promise<End> {
  const { size: all } = await file.stat();
  // The last line, and what a crash cut off behind it.
  const tail = Buffer.alloc(Math.min(all, 2 * MAX_LINE + 2));
  await file.read(tail, 0, tail.length, all - tail.length);
  const end = tail.lastIndexOf(0x0a) + 1;
  if (end === 0 && all > MAX_LINE) return { size: all, fault: 'the file before ends in no line' };
  const size = all - tail.length + end;
  if (size < all) await file.truncate(size);
  if (size === 0) return { size };
  const begin = end < 2 ? 0 : tail.lastIndexOf(0x0a, end - 2) + 1;
  const line = tail.toString('utf8', begin, end - 1);
  try {
    return { size, head: { sequence: parse(path, 1, line).sequence, hash: hashOf(line) } };
  } catch (error) {
    if (!(error instanceof AuditError)) throw error;
    return { size, fault: 'the last line of the file before is damaged' };
  }
}

/** @returns what the log lacks by the head that was noted */
function missing(head: AuditHead | undefined, noted: AuditHead | undefined): string | undefined {
  if (noted === undefined || noted.sequence <= (head?.sequence ?? 0)) return undefined;
  if (head === undefined)
    return `the log is empty or lost; it went to line ${noted.sequence} at least`;
  return `lines ${head.sequence + 1} to ${noted.sequence} at least are missing`;
}
