/**
 * What a super-peer must not forget: an SQLite database in one file.
 *
 * - **services**: the newest descriptor of each, with the salts and verifiers in it sealed as they
 *   came from the owner
 * - **tickets**: the ones that were used, and by whom
 * - **stranded**: credentials that their members may renew though the super-peer that signed them was struck off
 * - **leases**: which member has which virtual IPv4 address
 *
 * Each change is one transaction, on the disk before the call returns (WAL, synchronous = FULL), so that
 * SIGKILL and a power cut at any instant leave either all of it or none: one that forgot the use of a ticket
 * would let it be used twice. No secret is stored in clear.
 */
import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Ed25519PeerId } from '@libp2p/interface';
import { IcvpnError } from '../errors.ts';
import { type Credential, WAY_BACK_SECONDS } from '../records/credential.ts';
import {
  compareVersions,
  DESCRIPTOR,
  openDescriptor,
  type ServiceDescriptor,
} from '../records/descriptor.ts';
import { type Opened, openWithin } from '../records/envelope.ts';
import { LEASE_MIGRATION, LEASE_SCHEMA, LeaseTable } from './lease-table.ts';
import type { Ticket } from './ticket.ts';

/** By version: what makes it of the version before. */
const MIGRATIONS = [
  `CREATE TABLE service (
     id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, descriptor BLOB NOT NULL
   ) STRICT;
   CREATE TABLE ticket (
     id BLOB PRIMARY KEY, peer TEXT NOT NULL, used INTEGER NOT NULL, not_after INTEGER NOT NULL
   ) STRICT;
   ${LEASE_SCHEMA}`,
  LEASE_MIGRATION,
  `CREATE TABLE forgotten (not_after INTEGER NOT NULL) STRICT;
   INSERT INTO forgotten VALUES (0);`,
  `CREATE TABLE stranded (
     service TEXT NOT NULL, serial BLOB NOT NULL, not_after INTEGER NOT NULL,
     PRIMARY KEY (service, serial)
   ) STRICT;`,
];

/** Seconds that a used ticket is remembered after its end: a clock that is so much ahead costs no unused ticket. */
const REMEMBER_SECONDS = 7 * 86_400;

/** From sqlite3.h: there is no room on the disk. */
const SQLITE_FULL = 13;

export class StoreError extends IcvpnError {
  constructor(message: string, options?: ErrorOptions) {
    super(
      'ERR_ADMISSION_STORE',
      message,
      'check the disk and who owns the file; restore it from a backup if it is damaged',
      options,
    );
  }
}

/** The store cannot be written. `code` is `ERR_DISK_FULL` where that is why. */
function unwritable(path: string, cause: unknown): IcvpnError {
  const full = cause instanceof Error && 'errcode' in cause && cause.errcode === SQLITE_FULL;
  if (!full) return new StoreError(`the admission store ${path} cannot be written`, { cause });
  const message = `the admission store ${path} was not written: the disk is full`;
  return new IcvpnError('ERR_DISK_FULL', message, 'make room on the disk', { cause });
}

/**
 * `first`: this use, or nobody's so far. `again`: the same node used it before. `used`: another node did. `forgotten`:
 * it ended before others that were forgotten, so that its use may have been, too.
 */
export type TicketUse = 'first' | 'again' | 'used' | 'forgotten';

export interface StoreOptions {
  /** Whether a store is made where there is none; true if left out. */
  readonly make?: boolean;
}

const lost = (path: string, how: string): IcvpnError =>
  new IcvpnError(
    'ERR_ADMISSION_STORE_LOST',
    `the admission store ${path} ${how}, and this super-peer had one: it says which tickets are used`,
    'restore it from the newest backup; or begin anew with --new-admission-store, once, after the owners of the services took their tickets back',
  );

export class AdmissionStore {
  readonly #path: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Which member has which virtual IPv4 address. */
  readonly leases: LeaseTable;

  /**
   * @param path of the file, made with mode 0600
   * @throws StoreError `ERR_ADMISSION_STORE`, `ERR_ADMISSION_STORE_LOST` where there is none and none is to be made
   */
  constructor(path: string, { make = true }: StoreOptions = {}) {
    this.#path = path;
    try {
      if (!make && !existsSync(path)) throw lost(path, 'is missing');
      if (!make && statSync(path).size === 0) throw lost(path, 'is empty');
      closeSync(openSync(path, 'a', 0o600));
      chmodSync(path, 0o600);
      this.#db = new DatabaseSync(path, { timeout: 5000 });
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
      this.#migrate(make);
      this.leases = new LeaseTable(
        (sql) => this.#prepare(sql),
        (run) => this.#transaction(run),
      );
    } catch (cause) {
      if (cause instanceof IcvpnError) throw cause;
      throw new StoreError(`cannot open the admission store ${path}`, { cause });
    }
  }

  /** Keeps a descriptor. @returns false, changing nothing, unless it is newer than the one kept */
  putService(descriptor: Opened<ServiceDescriptor>): boolean {
    const { serviceId, sequence } = descriptor.value;
    const id = serviceId.toString();
    return this.#transaction(() => {
      const kept = this.#prepare('SELECT descriptor FROM service WHERE id = ?').get(id);
      const old =
        kept && readable(() => openWithin(DESCRIPTOR, blob(kept['descriptor']), serviceId));
      if (old && compareVersions(descriptor.value, old.value) <= 0) return false;
      const put = this.#prepare('INSERT OR REPLACE INTO service VALUES (?, ?, ?)');
      put.run(id, sequence, descriptor.bytes);
      return true;
    });
  }

  /**
   * @param onDamaged told of each descriptor that cannot be read
   * @returns the newest descriptor of every other service
   */
  async services(onDamaged: (error: unknown) => void): Promise<Opened<ServiceDescriptor>[]> {
    const rows = this.#prepare('SELECT descriptor FROM service ORDER BY id').all();
    const opened: Opened<ServiceDescriptor>[] = [];
    for (const { descriptor } of rows) {
      try {
        opened.push(await openDescriptor(blob(descriptor)));
      } catch (error) {
        onDamaged(error);
      }
    }
    return opened;
  }

  removeService(serviceId: string): void {
    this.#write(() => this.#prepare('DELETE FROM service WHERE id = ?').run(serviceId));
  }

  /** What `useTicket` would say; changes nothing. */
  ticketUse({ id, notAfter }: Pick<Ticket, 'id' | 'notAfter'>, peer: Ed25519PeerId): TicketUse {
    const row = this.#prepare('SELECT peer FROM ticket WHERE id = ?').get(id);
    if (row !== undefined) return row['peer'] === peer.toString() ? 'again' : 'used';
    return notAfter <= this.#forgotten() ? 'forgotten' : 'first';
  }

  /**
   * Uses a ticket up. The node that used it may use it again while it lasts, since the answer to
   * its first use may have been lost on the way.
   */
  useTicket(ticket: Pick<Ticket, 'id' | 'notAfter'>, peer: Ed25519PeerId, now: number): TicketUse {
    const { id, notAfter } = ticket;
    return this.#spend(id, peer.toString(), now, notAfter)
      ? 'first'
      : this.#useBefore(ticket, peer);
  }

  /** Whose the use is that came before; `first` is none. */
  #useBefore(ticket: Pick<Ticket, 'id' | 'notAfter'>, peer: Ed25519PeerId): TicketUse {
    const use = this.ticketUse(ticket, peer);
    return use === 'first' ? 'used' : use;
  }

  /**
   * Forgets used tickets that ended a week ago. What is forgotten by a clock that is ahead must not be used again
   * when the clock is right: of the tickets that ended no later than a forgotten one none is taken any more.
   *
   * @param now seconds since 1970
   * @returns how many were forgotten
   */
  forgetTickets(now: number): number {
    const before = now - REMEMBER_SECONDS;
    return this.#transaction(() => {
      this.#prepare(
        `UPDATE forgotten SET not_after =
         max(not_after, (SELECT coalesce(max(not_after), 0) FROM ticket WHERE not_after < ?))`,
      ).run(before);
      const gone = this.#prepare('DELETE FROM ticket WHERE not_after < ?').run(before);
      return Number(gone.changes);
    });
  }

  /** Notes credentials that may be renewed for as long as any, whoever signed them. */
  strand(credentials: readonly Pick<Credential, 'serviceId' | 'serial' | 'notAfter'>[]): void {
    const note = this.#prepare('INSERT INTO stranded VALUES (?, ?, ?) ON CONFLICT DO NOTHING');
    this.#transaction(() => {
      for (const { serviceId, serial, notAfter } of credentials) {
        note.run(serviceId.toString(), serial, notAfter + WAY_BACK_SECONDS);
      }
    });
  }

  isStranded(serviceId: string, serial: Uint8Array): boolean {
    const find = this.#prepare('SELECT 1 FROM stranded WHERE service = ? AND serial = ?');
    return find.get(serviceId, serial) !== undefined;
  }

  /** Forgets credentials that are too old to be renewed. @param now seconds since 1970 */
  forgetStranded(now: number): void {
    this.#prepare('DELETE FROM stranded WHERE not_after < ?').run(now);
  }

  close(): void {
    this.#db.close();
  }

  /** One statement checks and consumes, so that nothing can come between. */
  #spend(id: Uint8Array, by: string, now: number, notAfter: number): boolean {
    const insert = this.#prepare(
      `INSERT INTO ticket SELECT ?, ?, ?, ? FROM forgotten WHERE ? > forgotten.not_after
       ON CONFLICT DO NOTHING`,
    );
    return this.#write(() => insert.run(id, by, now, notAfter, notAfter).changes === 1);
  }

  #forgotten(): number {
    return Number(this.#prepare('SELECT not_after FROM forgotten').get()?.['not_after'] ?? 0);
  }

  #transaction<T>(run: () => T): T {
    return this.#write(() => {
      this.#db.exec('BEGIN IMMEDIATE');
      try {
        const result = run();
        this.#db.exec('COMMIT');
        return result;
      } catch (error) {
        // A full disk may have ended it already.
        if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
        throw error;
      }
    });
  }

  /** @throws IcvpnError `ERR_DISK_FULL`, StoreError for what SQLite throws; other errors as they are */
  #write<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      const isSqlite = error instanceof Error && 'errcode' in error;
      throw isSqlite ? unwritable(this.#path, error) : error;
    }
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #migrate(make: boolean): void {
    this.#transaction(() => {
      const version = Number(this.#db.prepare('PRAGMA user_version').get()?.['user_version']);
      if (version === 0 && !make) throw lost(this.#path, 'is empty');
      if (version > MIGRATIONS.length) {
        throw new StoreError(
          `the admission store is of version ${version}, newer than ${MIGRATIONS.length}`,
        );
      }
      for (const migration of MIGRATIONS.slice(version)) this.#db.exec(migration);
      this.#db.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
    });
  }
}

/** A damaged row is worth less than any other. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof IcvpnError) return undefined;
    throw error;
  }
}

function blob(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new StoreError('the admission store is damaged');
  return value;
}
