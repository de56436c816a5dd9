/**
 * How much of a record store's room services may take that this node does not serve.
 *
 * ```
 *  served here                    ┌───────────────────────────────┐
 *  and beside it, of all others   │███████████████████████        │ 3/4 of the room
 *    of one service               │██                             │ 1/16
 *    of one signer, in others'    │▌                              │ 1/64
 *                                 └───────────────────────────────┘
 * ```
 *
 * Tier 1 stores what others ask it to. A super-peer that no service names can make up services, and sign lists and
 * shards of any: that leaves room for what this node serves.
 */

/** Parts of the room. */
const SHARES = { all: 3 / 4, service: 1 / 16, signer: 1 / 64 };

/** What a record takes, and by whom: PeerIDs as text. */
export interface Guest {
  readonly service: string;
  readonly signer: string;
  readonly bytes: number;
}

interface Use {
  records: number;
  bytes: number;
}

export class Guests {
  readonly #room: Readonly<Use>;
  readonly #all: Use = { records: 0, bytes: 0 };
  /** By service, and by signer of records of another key's service. */
  readonly #holders = new Map<string, Use>();

  constructor(room: Readonly<Use>) {
    this.#room = room;
  }

  /** @param growth bytes and records that it would take more than what it replaces */
  fits(guest: Guest, growth: Readonly<Use>): boolean {
    return (
      this.#within(this.#all, SHARES.all, growth) &&
      holdersOf(guest).every(({ name, share }) =>
        this.#within(this.#holders.get(name), share, growth),
      )
    );
  }

  add(guest: Guest): void {
    this.#count(guest, 1);
  }

  remove(guest: Guest): void {
    this.#count(guest, -1);
  }

  #within(use: Use | undefined, share: number, growth: Readonly<Use>): boolean {
    const { records, bytes } = use ?? { records: 0, bytes: 0 };
    return (
      records + growth.records <= this.#room.records * share &&
      bytes + growth.bytes <= this.#room.bytes * share
    );
  }

  #count(guest: Guest, sign: 1 | -1): void {
    const names = holdersOf(guest).map(({ name }) => name);
    for (const name of names)
      if (!this.#holders.has(name)) this.#holders.set(name, { records: 0, bytes: 0 });
    for (const use of [this.#all, ...names.map((name) => this.#holders.get(name))]) {
      if (use === undefined) continue;
      use.records += sign;
      use.bytes += sign * guest.bytes;
    }
    for (const name of names)
      if (this.#holders.get(name)?.records === 0) this.#holders.delete(name);
  }
}

function holdersOf({ service, signer }: Guest): { name: string; share: number }[] {
  const own = { name: `service ${service}`, share: SHARES.service };
  return signer === service ? [own] : [own, { name: `signer ${signer}`, share: SHARES.signer }];
}
