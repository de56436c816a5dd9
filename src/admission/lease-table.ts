/**
 * Which member has which virtual IPv4 address, and until when: a table in the super-peer's store.
 *
 * A lease ends in time that this super-peer was *heard*: connected to the other super-peers of the service, which
 * may renew its members' credentials. What they did while it was not, it cannot know (`docs/addresses.md`).
 *
 * ```
 *            heard             cut off, or off              heard again: all shards read
 *  ├───────────────────────┼───────────────────────────────┼──────────────────▶
 *   leases end                none ends                      those that had not ended last one lifetime more
 * ```
 *
 * They last longer once only, until the member is seen again: otherwise a super-peer that restarts each night would
 * never have an address back.
 */
import type { SQLInputValue, StatementSync } from 'node:sqlite';
import type { Ed25519PeerId } from '@libp2p/interface';
import { Ipv4PoolError } from '../records/address-range.ts';
import { CLOCK_SKEW_SECONDS } from '../records/credential.ts';
import type { Ipv4Pool } from '../records/virtual-address.ts';

/** Seconds that a credential may be taken for valid after its end: both clocks may be wrong. */
const GRACE_SECONDS = 2 * CLOCK_SKEW_SECONDS;
/** Seconds between two notes that this super-peer is heard, above which it was not heard in between. */
export const MAX_UNHEARD_SECONDS = 120;

export const LEASE_SCHEMA = `
  CREATE TABLE lease (
    service TEXT NOT NULL, address TEXT NOT NULL, peer TEXT NOT NULL, not_after INTEGER NOT NULL,
    PRIMARY KEY (service, address), UNIQUE (service, peer)
  ) STRICT;
`;
/** From version 1 of the store, whose leases did not say since when. */
export const LEASE_MIGRATION = `
  ALTER TABLE lease ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE lease ADD COLUMN unseen INTEGER NOT NULL DEFAULT 0;
  CREATE INDEX lease_end ON lease (service, not_after);
  CREATE TABLE heard (service TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT;
`;

/** A member's address, and since when it has it, in seconds since 1970. */
export interface AddressClaim {
  readonly ipv4: string;
  readonly since: number;
}

/** What a credential says of a member's address. */
export interface CredentialClaim extends AddressClaim {
  readonly peer: Ed25519PeerId;
  /** Seconds since 1970. */
  readonly notAfter: number;
}

/** A member that wants an address. */
export interface Wish {
  readonly service: Ed25519PeerId;
  readonly peer: Ed25519PeerId;
  /** Seconds since 1970. */
  readonly now: number;
  /** End of the credential that the address is for. */
  readonly notAfter: number;
  /** The address in the credential that is renewed. */
  readonly held?: AddressClaim | undefined;
}

interface Row extends AddressClaim {
  readonly peer: string;
  readonly notAfter: number;
  /** It was made longer after a time of silence, and the member was not seen since. */
  readonly unseen: boolean;
}

export class LeaseTable {
  readonly #prepare: (sql: string) => StatementSync;
  readonly #transaction: <T>(run: () => T) => T;

  /**
   * @param prepare gives a statement of the store's database, the same one each time
   * @param transaction runs all of its changes or none
   */
  constructor(prepare: (sql: string) => StatementSync, transaction: <T>(run: () => T) => T) {
    this.#prepare = prepare;
    this.#transaction = transaction;
  }

  /**
   * Gives a member an address of the pool: the one that it has, or one that is nobody's; of those whose lease has
   * ended the one that ended first, when all others are leased.
   *
   * @throws Ipv4PoolError when every address is leased
   */
  take({ service, peer, now, notAfter, held }: Wish, pool: Ipv4Pool): AddressClaim {
    const [serviceId, name] = [service.toString(), peer.toString()];
    return this.#transaction(() => {
      const ended = this.#ended(serviceId, now);
      if (held !== undefined && pool.has(held.ipv4)) {
        this.#note(serviceId, { ...held, ...{ peer: name, notAfter: 0, unseen: false } }, ended);
      }
      const own = this.#ofPeer(serviceId, name);
      const kept = own !== undefined && pool.has(own.ipv4) ? own : undefined;
      if (own !== undefined && kept === undefined) this.#delete(serviceId, own.ipv4);
      const ipv4 = kept?.ipv4 ?? this.#free(service, peer, pool, ended);
      const since = kept === undefined || (ended(kept) && held === undefined) ? now : kept.since;
      this.#put(serviceId, { ...{ ipv4, since, notAfter, peer: name }, unseen: false });
      return { ipv4, since };
    });
  }

  /**
   * Notes that a credential has an address of this super-peer: its lease lasts as long, at least.
   *
   * @returns false when the address is another member's, whose claim is older
   */
  learn(serviceId: string, { peer, ...claim }: CredentialClaim, now: number): boolean {
    const row = { ...claim, peer: peer.toString(), unseen: false };
    // Most of what is told is known.
    const known = this.#ofAddress(serviceId, row.ipv4);
    if (known?.peer === row.peer && !known.unseen && known.notAfter >= row.notAfter) return true;
    return this.#transaction(() => this.#note(serviceId, row, this.#ended(serviceId, now)));
  }

  /** Ends a member's lease at once. */
  release(serviceId: string, peer: string): void {
    this.#transaction(() => {
      this.#run('DELETE FROM lease WHERE service = ? AND peer = ?', serviceId, peer);
    });
  }

  /** The members that have a lease, or had one whose address is nobody else's yet, as text. */
  peers(serviceId: string): string[] {
    const rows = this.#prepare('SELECT peer FROM lease WHERE service = ?').all(serviceId);
    return rows.map(({ peer }) => String(peer));
  }

  /** When this super-peer was last heard, in seconds since 1970; undefined if it never was. */
  heardAt(serviceId: string): number | undefined {
    const at = this.#prepare('SELECT at FROM heard WHERE service = ?').get(serviceId)?.['at'];
    return at === undefined ? undefined : Number(at);
  }

  /**
   * Notes that this super-peer is heard, and knows what the others have renewed.
   *
   * @param lifetime of a credential, in seconds: after a time of silence leases that had not ended before last as long
   */
  heard(serviceId: string, now: number, lifetime: number): void {
    this.#transaction(() => {
      const before = this.heardAt(serviceId) ?? 0;
      if (now - before > MAX_UNHEARD_SECONDS) {
        this.#run(
          `UPDATE lease SET not_after = ?, unseen = 1
           WHERE service = ? AND unseen = 0 AND not_after < ? AND not_after + ? >= ?`,
          ...[now + lifetime, serviceId, now + lifetime, GRACE_SECONDS, before],
        );
      }
      this.#run(
        'INSERT INTO heard VALUES (?, ?) ON CONFLICT (service) DO UPDATE SET at = excluded.at',
        ...[serviceId, now],
      );
    });
  }

  /** @returns whether a lease has ended, for all that this super-peer can know */
  #ended(serviceId: string, now: number): (row: Row) => boolean {
    const horizon = Math.min(now, this.heardAt(serviceId) ?? 0);
    return ({ notAfter }) => notAfter + GRACE_SECONDS < horizon;
  }

  #free(
    service: Ed25519PeerId,
    peer: Ed25519PeerId,
    pool: Ipv4Pool,
    ended: (row: Row) => boolean,
  ): string {
    const serviceId = service.toString();
    const unused = (): string | undefined =>
      pool.pick(service, peer, (address) => this.#ofAddress(serviceId, address) !== undefined);
    // Where every address was leased once, looking for one that never was takes long, and finds none.
    const isRoom = (): boolean => this.#count(serviceId) < pool.size;
    const address =
      (isRoom() ? unused() : undefined) ??
      this.#firstEnded(serviceId, pool, ended) ??
      (isRoom() ? unused() : undefined);
    if (address !== undefined) return address;
    throw new Ipv4PoolError(
      `all ${pool.size} IPv4 addresses of this super-peer are leased`,
      'wait until credentials end, or name another super-peer for the service: icvpn service update',
    );
  }

  /** @returns an address whose lease has ended, that which ended first; it has none now */
  #firstEnded(serviceId: string, pool: Ipv4Pool, ended: (row: Row) => boolean): string | undefined {
    const sql = 'SELECT * FROM lease WHERE service = ? ORDER BY not_after';
    for (const found of this.#prepare(sql).iterate(serviceId)) {
      const row = rowOf(found);
      if (!ended(row)) return undefined;
      this.#delete(serviceId, row.ipv4);
      if (pool.has(row.ipv4)) return row.ipv4;
    }
    return undefined;
  }

  /** @returns whether the claim stands */
  #note(serviceId: string, claim: Row, ended: (row: Row) => boolean): boolean {
    const other = this.#ofAddress(serviceId, claim.ipv4);
    if (other !== undefined && other.peer !== claim.peer) {
      if (!ended(other) && isOlder(other, claim)) return false;
      this.#delete(serviceId, other.ipv4);
    }
    const own = this.#ofPeer(serviceId, claim.peer);
    if (own === undefined) this.#put(serviceId, claim);
    else if (own.ipv4 === claim.ipv4) {
      const notAfter = Math.max(own.notAfter, claim.notAfter);
      this.#put(serviceId, { ...own, notAfter, unseen: false });
    } else if (own.since < claim.since) {
      this.#delete(serviceId, own.ipv4);
      this.#put(serviceId, claim);
    }
    return true;
  }

  #count(serviceId: string): number {
    const sql = 'SELECT count(*) AS leases FROM lease WHERE service = ?';
    return Number(this.#prepare(sql).get(serviceId)?.['leases']);
  }

  #ofPeer(serviceId: string, peer: string): Row | undefined {
    const sql = 'SELECT * FROM lease WHERE service = ? AND peer = ?';
    const found = this.#prepare(sql).get(serviceId, peer);
    return found && rowOf(found);
  }

  #ofAddress(serviceId: string, address: string): Row | undefined {
    const sql = 'SELECT * FROM lease WHERE service = ? AND address = ?';
    const found = this.#prepare(sql).get(serviceId, address);
    return found && rowOf(found);
  }

  #put(serviceId: string, { ipv4, peer, notAfter, since, unseen }: Row): void {
    this.#run(
      `INSERT INTO lease (service, address, peer, not_after, since, unseen) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (service, peer) DO UPDATE
       SET not_after = excluded.not_after, since = excluded.since, unseen = excluded.unseen`,
      ...[serviceId, ipv4, peer, notAfter, since, unseen ? 1 : 0],
    );
  }

  #delete(serviceId: string, address: string): void {
    this.#run('DELETE FROM lease WHERE service = ? AND address = ?', serviceId, address);
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#prepare(sql).run(...values);
  }
}

/** Of two claims on one address the older one stands, at equal times that of the lower PeerID. */
const isOlder = (a: Row, b: Row): boolean =>
  a.since === b.since ? a.peer < b.peer : a.since < b.since;

function rowOf(row: Record<string, unknown>): Row {
  return {
    ipv4: String(row['address']),
    peer: String(row['peer']),
    notAfter: Number(row['not_after']),
    since: Number(row['since']),
    unseen: row['unseen'] === 1,
  };
}
