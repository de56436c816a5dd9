/**
 * What a super-peer must not forget: an SQLite database in one file.
 *
 * - **services**: the newest descriptor of each, with the salts and verifiers in it sealed as they
 *   came from the owner
 * - **tickets**: the ones that were used, and by whom
 * - **leases**: which member has which virtual IPv4 address
 *
 * Each change is one transaction, in the file before the call returns, so that a process killed at
 * any instant leaves either all of it or none. The use of a ticket is on the disk as well, since a
 * power cut that forgot it would let the ticket be used twice. No secret is stored in clear.
 */
import { chmodSync, closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Ed25519PeerId } from '@libp2p/interface';
import { IcvpnError } from '../errors.ts';
import {
  compareVersions,
  DESCRIPTOR,
  openDescriptor,
  type ServiceDescriptor,
} from '../records/descriptor.ts';
import { type Opened, openWithin } from '../records/envelope.ts';
import { LEASE_MIGRATION, LEASE_SCHEMA, LeaseTable } from './lease-table.ts';
import type { Ticket } from './ticket.ts';

const SCHEMA_VERSION = 2;
const SCHEMA = `
  CREATE TABLE service (
    id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, descriptor BLOB NOT NULL
  ) STRICT;
  CREATE TABLE ticket (
    id BLOB PRIMARY KEY, peer TEXT NOT NULL, used INTEGER NOT NULL, not_after INTEGER NOT NULL
  ) STRICT;
  ${LEASE_SCHEMA}
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

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

/** `first`: this use. `again`: the same node used it before. `used`: another node did. */
export type TicketUse = 'first' | 'again' | 'used';

export class AdmissionStore {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Which member has which virtual IPv4 address. */
  readonly leases: LeaseTable;

  /** @param path of the file, made with mode 0600 when there is none. @throws StoreError */
  constructor(path: string) {
    try {
      closeSync(openSync(path, 'a', 0o600));
      chmodSync(path, 0o600);
      this.#db = new DatabaseSync(path, { timeout: 5000 });
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
      this.#migrate();
      this.leases = new LeaseTable(this.#db, (run) => this.#transaction(run));
    } catch (cause) {
      if (cause instanceof StoreError) throw cause;
      throw new StoreError(`cannot open the admission store ${path}`, { cause });
    }
  }

  /** Keeps a descriptor. @returns false, changing nothing, unless it is newer than the one kept */
  putService(descriptor: Opened<ServiceDescriptor>): boolean {
    const { serviceId, sequence } = descriptor.value;
    const id = serviceId.toString();
    return this.#transaction(() => {
      const kept = this.#prepare('SELECT descriptor FROM service WHERE id = ?').get(id);
      const old = kept && openWithin(DESCRIPTOR, blob(kept['descriptor']), serviceId);
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
    this.#prepare('DELETE FROM service WHERE id = ?').run(serviceId);
  }

  /**
   * Uses a ticket up. The node that used it may use it again while it lasts, since the answer to
   * its first use may have been lost on the way.
   */
  useTicket(ticket: Pick<Ticket, 'id' | 'notAfter'>, peer: Ed25519PeerId, now: number): TicketUse {
    const { id, notAfter } = ticket;
    if (this.#spend(id, peer.toString(), now, notAfter)) return 'first';
    const row = this.#prepare('SELECT peer FROM ticket WHERE id = ?').get(id);
    return row?.['peer'] === peer.toString() ? 'again' : 'used';
  }

  /** Forgets used tickets that are worthless anyway. @returns how many */
  forgetTickets(now: number): number {
    const gone = this.#prepare('DELETE FROM ticket WHERE not_after < ?').run(now);
    return Number(gone.changes);
  }

  close(): void {
    this.#db.close();
  }

  /** One statement checks and consumes, so that nothing can come between. */
  #spend(id: Uint8Array, by: string, now: number, notAfter: number): boolean {
    this.#db.exec('PRAGMA synchronous = FULL');
    try {
      const insert = this.#prepare('INSERT INTO ticket VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING');
      return insert.run(id, by, now, notAfter).changes === 1;
    } finally {
      this.#db.exec('PRAGMA synchronous = NORMAL');
    }
  }

  #transaction<T>(run: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = run();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #migrate(): void {
    this.#transaction(() => {
      const version = this.#db.prepare('PRAGMA user_version').get()?.['user_version'];
      if (version === 0) this.#db.exec(SCHEMA);
      else if (version === 1) {
        this.#db.exec(`${LEASE_MIGRATION} PRAGMA user_version = ${SCHEMA_VERSION}`);
      } else if (version !== SCHEMA_VERSION) {
        throw new StoreError(`the admission store is of version ${version}, not ${SCHEMA_VERSION}`);
      }
    });
  }
}

function blob(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new StoreError('the admission store is damaged');
  return value;
}
