/**
 * What has changed in a service, in order, at one super-peer: from it updates are made.
 *
 * ```
 *  change:  joined, left ─▶ log: … 17 18 19 20     an update from 17 to 20 is the same for everybody
 *           renewed ─▶ waits for a minute, or       who knows 17: it is made, signed and sealed once
 *                      for the next of the others
 * ```
 *
 * Of several changes of one member an update has the last only. Nobody acts on a credential that was
 * only renewed, and the one before still holds for a third of its time: a thousand members renewing
 * one after the other are to cost the others a message a minute and not a thousand.
 */
import { randomBytes } from 'node:crypto';
import type { DirectoryContents, DirectoryUpdate } from '../records/directory.ts';
import { FEED_ID_LENGTH } from '../records/directory.ts';
import { parsePeerId } from '../records/peer-id.ts';
import type { Member } from './claims.ts';
import { compare } from './known-members.ts';
import type { Membership, MembershipChange } from './membership.ts';

/** Milliseconds for which renewals are collected. */
const COLLECT_RENEWALS = 60_000;
/** Changes remembered; a member that is further behind gets the whole list again. */
const MAX_LOG = 8_192;

export class DirectoryFeed {
  /** 16 bytes, others at each start of a super-peer. */
  readonly id = Uint8Array.from(randomBytes(FEED_ID_LENGTH));
  readonly #membership: Pick<Membership, 'members' | 'member'>;
  readonly #onDue: () => void;
  /** PeerIDs in the order of their changes; `#start` is the number of those before the first one kept. */
  #log: string[] = [];
  #start = 0;
  readonly #renewed = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  /** @param onDue called when there is something to tell */
  constructor(membership: Pick<Membership, 'members' | 'member'>, onDue: () => void) {
    this.#membership = membership;
    this.#onDue = onDue;
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  /** How many changes there have been. */
  get sequence(): number {
    return this.#start + this.#log.length;
  }

  note({ joined, renewed, left }: MembershipChange): void {
    for (const { peerId } of renewed) this.#renewed.add(peerId.toString());
    for (const { peerId } of joined) this.#append(peerId.toString());
    for (const peerId of left) this.#append(peerId.toString());
    if (joined.length + left.length > 0) this.#tell();
    else if (this.#renewed.size > 0) {
      this.#timer ??= setTimeout(() => this.#tell(), COLLECT_RENEWALS).unref();
    }
  }

  /** @returns what has changed since `base`; undefined when that is not remembered */
  since(base: number): DirectoryContents | undefined {
    if (base < this.#start) return undefined;
    const joined: Member[] = [];
    const left: DirectoryUpdate['left'] = [];
    for (const name of new Set(this.#log.slice(base - this.#start))) {
      const id = parsePeerId(name);
      const member = this.#membership.member(id);
      if (member) joined.push(member);
      else left.push(id);
    }
    return { joined: joined.map(listed), left, kept: undefined };
  }

  /** @returns the whole list, but for members that are as `known` says */
  whole(known: Uint8Array): DirectoryContents {
    const { unknown, kept } = compare(this.#membership.members(), known);
    return { joined: unknown.map(listed), left: [], kept };
  }

  #append(name: string): void {
    this.#renewed.delete(name);
    this.#log.push(name);
  }

  #tell(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const name of this.#renewed) this.#append(name);
    const excess = this.#log.length - MAX_LOG;
    if (excess > 0) {
      this.#log = this.#log.slice(excess);
      this.#start += excess;
    }
    this.#onDue();
  }
}

function listed({ credential, multiaddrs }: Member): DirectoryUpdate['joined'][number] {
  return { credential: credential.bytes, multiaddrs: [...multiaddrs] };
}
