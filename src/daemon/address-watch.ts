/** Keeps members apart that claim one virtual address: tells each such conflict once, and shows those that last. */
import type { Member } from '../overlay/membership.ts';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import { type AddressConflict, settleAddresses } from './address-claims.ts';
import type { Log } from './log.ts';

export class AddressWatch {
  readonly #self: () => Opened<Credential>;
  readonly #log: Log;
  readonly #told = new Set<string>();
  #conflicts: readonly AddressConflict[] = [];

  /** @param self the newest credential of this node */
  constructor(self: () => Opened<Credential>, log: Log) {
    this.#self = self;
    this.#log = log;
  }

  /** Those of the newest list. */
  get conflicts(): readonly AddressConflict[] {
    return this.#conflicts;
  }

  /** @returns the members of a list that may be peers */
  settle(listed: readonly Member[]): readonly Member[] {
    const { members, conflicts } = settleAddresses(listed, this.#self());
    this.#conflicts = conflicts;
    const names = new Map(conflicts.map((each) => [nameOf(each), each]));
    for (const name of this.#told) if (!names.has(name)) this.#told.delete(name);
    for (const [name, { ipv4, holder, refused }] of names) {
      if (this.#told.has(name)) continue;
      this.#told.add(name);
      this.#log('address-conflict', { ipv4, holder, refused });
    }
    return members;
  }
}

const nameOf = ({ ipv4, holder, refused }: AddressConflict): string =>
  `${ipv4} ${holder} ${refused}`;
