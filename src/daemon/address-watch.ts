/** Keeps members apart that claim one virtual address: tells each such conflict once, and shows those that last. */
import type { Member } from '../overlay/membership.ts';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import { type AddressConflict, settleAddresses } from './address-claims.ts';
import type { Log } from './log.ts';
import { ToldConflicts } from './told-conflicts.ts';

export class AddressWatch {
  readonly #self: () => Opened<Credential>;
  readonly #conflicts: ToldConflicts<AddressConflict>;

  /** @param self the newest credential of this node */
  constructor(self: () => Opened<Credential>, log: Log) {
    this.#self = self;
    this.#conflicts = new ToldConflicts(({ ipv4, holder, refused }) =>
      log('address-conflict', { ipv4, holder, refused }),
    );
  }

  /** Those of the newest list. */
  get conflicts(): readonly AddressConflict[] {
    return this.#conflicts.all;
  }

  /** @returns the members of a list that may be peers */
  settle(listed: readonly Member[]): readonly Member[] {
    const { members, conflicts } = settleAddresses(listed, this.#self());
    this.#conflicts.follow(conflicts);
    return members;
  }
}
