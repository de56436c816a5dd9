/**
 * The members that this node knew last, sealed in its secure cache, so that a restart without any
 * super-peer begins with peers.
 *
 * ```
 *  directory ─▶ merged with departed ones whose credentials still hold ─▶ members, members-0 … members-7
 *                                                                             │ restart
 *  peers ◀── signature, service, epoch, time, revocation ◀────────────────────┘
 * ```
 *
 * The entry `members` is there from the first policy answer of a super-peer on, and says how much of the
 * owner's word was known. A start that knows less, since records were lost, does not begin from the cache:
 * it would let in what the policy forbids.
 */
import { message, optional, repeated, required, uint53 } from '../../codec/protobuf.ts';
import { MAX_ENTRY_LENGTH, type SecureCache } from '../../keymgmt/cache/secure-cache.ts';
import { openListed, type UpdateContext } from '../../overlay/directory-check.ts';
import type { Member } from '../../overlay/membership.ts';
import { type ListedMember, listedMember, MAX_KNOWN_MEMBERS } from '../../records/directory.ts';
import { peerId } from '../../records/peer-id.ts';
import type { Log } from '../log.ts';

/** Entries of the cache that members may fill: 8 MiB. */
const MAX_PARTS = 8;
/** Bytes that one member takes in an entry beside its credential and addresses, at most. */
const OVERHEAD = 64;
/** Milliseconds between two writes. */
const INTERVAL_MS = 10_000;

/** Sequences of what the owner has published, as far as it is known; undefined where there is none. */
export interface OwnersWord {
  readonly policy: number | undefined;
  readonly revocations: number | undefined;
}

const HEAD = 'members';
const head = message({
  serviceId: required(1, peerId()),
  policy: optional(2, uint53()),
  revocations: optional(3, uint53()),
});
const part = message({
  members: repeated(1, listedMember, { max: MAX_KNOWN_MEMBERS }),
});
const partName = (i: number): string => `${HEAD}-${i}`;

export interface KnownMembersOptions {
  readonly cache: SecureCache;
  /** What members from before a restart are held against. */
  readonly context: Pick<UpdateContext, 'self' | 'serviceId' | 'trust' | 'clock'>;
  /** What the owner has published, as far as this node knows now. */
  readonly ownersWord: () => OwnersWord;
  readonly log: Log;
  /** Milliseconds between two writes; ten seconds when left out. */
  readonly interval?: number;
}

export class KnownMembers implements AsyncDisposable {
  readonly #options: KnownMembersOptions;
  /** By PeerID, in text; those of the newest list last. */
  readonly #members = new Map<string, Member>();
  /** Whether what is known may be written: not before the policy is known. */
  #writable = false;
  #stale = false;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  private constructor(options: KnownMembersOptions) {
    this.#options = options;
  }

  /** Reads what the cache has. Members that do not hold are left out; a damaged entry costs only its own. */
  static async open(options: KnownMembersOptions): Promise<KnownMembers> {
    const known = new KnownMembers(options);
    known.#writable = await known.#knowsEnough();
    if (!known.#writable) return known;
    for (let i = 0; i < MAX_PARTS; i++) {
      const members = await known.#read(i);
      if (members === undefined) continue;
      for (const each of members) await known.#enter(each);
    }
    return known;
  }

  /** Whether a run before this one had learned both the members and the policy. */
  get fromBefore(): boolean {
    return this.#writable;
  }

  all(): Member[] {
    return [...this.#members.values()];
  }

  /** The policy is known now: from here on a restart can do without super-peers. */
  confirm(): void {
    this.#writable = true;
    this.#stale = true;
    this.#schedule(0);
  }

  /** Takes the newest list. Members that are not in it stay known while their credentials hold. */
  follow(members: readonly Member[]): void {
    for (const each of members) {
      const name = each.peerId.toString();
      this.#members.delete(name);
      this.#members.set(name, each);
    }
    this.#stale = true;
    this.#schedule(this.#options.interval ?? INTERVAL_MS);
  }

  /** The owner has published: a restart must not begin with less. */
  note(): void {
    this.#stale = true;
    this.#schedule(0);
  }

  async #knowsEnough(): Promise<boolean> {
    const { cache, context, ownersWord, log } = this.#options;
    try {
      const raw = await cache.get(HEAD);
      if (raw === undefined) return false;
      const before = head.decode(raw);
      if (!before.serviceId.equals(context.serviceId)) return false;
      const now = ownersWord();
      const lost = (['policy', 'revocations'] as const).filter(
        (each) => (now[each] ?? -1) < (before[each] ?? -1),
      );
      if (lost.length > 0) log('owners-word-lost', { what: lost.join() });
      return lost.length === 0;
    } catch (error) {
      log('known-members-damaged', { entry: HEAD, why: String(error) });
      return false;
    }
  }

  async #read(i: number): Promise<ListedMember[] | undefined> {
    const { cache, log } = this.#options;
    try {
      const raw = await cache.get(partName(i));
      return raw && part.decode(raw).members;
    } catch (error) {
      log('known-members-damaged', { entry: partName(i), why: String(error) });
      return undefined;
    }
  }

  async #enter(listed: ListedMember): Promise<void> {
    const { context } = this.#options;
    // No super-peer vouches for what lies on a disk: each credential proves itself.
    const member = await openListed(listed, context.self, context);
    if (member !== undefined) this.#members.set(member.peerId.toString(), member);
  }

  #schedule(wait: number): void {
    if (!this.#writable || !this.#stale || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#write();
    }, wait).unref();
  }

  #write(): Promise<void> {
    if (!this.#writable || !this.#stale) return this.#writing;
    this.#stale = false;
    this.#prune();
    const parts = split(this.all().reverse());
    this.#writing = this.#writing
      .then(() => this.#put(parts))
      .catch((error: unknown) => {
        this.#stale = true;
        this.#options.log('known-members-failed', { why: String(error) });
      });
    return this.#writing;
  }

  async #put(parts: readonly (readonly Member[])[]): Promise<void> {
    const { cache, context, ownersWord } = this.#options;
    await cache.put(HEAD, head.encode({ serviceId: context.serviceId, ...ownersWord() }));
    for (let i = 0; i < MAX_PARTS; i++) {
      const members = parts[i];
      if (members === undefined) await cache.delete(partName(i));
      else await cache.put(partName(i), part.encode({ members: members.map(listedOf) }));
    }
  }

  /** Forgets members that may no longer be any, and the longest departed beyond the limit. */
  #prune(): void {
    const { trust, clock } = this.#options.context;
    const { revoked = () => false } = trust();
    for (const [name, { notAfter, credential }] of this.#members) {
      const excess = this.#members.size > MAX_KNOWN_MEMBERS;
      if (excess || notAfter <= clock() / 1000 || revoked(credential)) this.#members.delete(name);
    }
  }

  /** Writes what is new. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    await this.#write();
  }
}

const listedOf = ({ credential, multiaddrs }: Member): ListedMember => ({
  credential: credential.bytes,
  multiaddrs: [...multiaddrs],
});

/** @returns members in as many entries as they take; the last ones are left out when all are full */
function split(members: readonly Member[]): Member[][] {
  const parts: Member[][] = [[]];
  let room = MAX_ENTRY_LENGTH;
  for (const each of members) {
    const length = OVERHEAD + lengthOf(each);
    if (length > room) {
      if (parts.length === MAX_PARTS) break;
      parts.push([]);
      room = MAX_ENTRY_LENGTH;
    }
    parts.at(-1)?.push(each);
    room -= length;
  }
  return parts;
}

const lengthOf = ({ credential, multiaddrs }: Member): number =>
  multiaddrs.reduce((sum, each) => sum + Buffer.byteLength(each) + 4, credential.bytes.length);
