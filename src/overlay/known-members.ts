/**
 * What a member that attaches again knows already, said in 8 bytes for each member of its list, so that it
 * is told the rest only. The answer has one bit for each: whether it still stands.
 *
 * Digests are a saving and no proof: a member that sends wrong ones gets too much or too little itself.
 */
import { createHash } from 'node:crypto';
import type { Member } from './claims.ts';

/** Bytes of one member's digest. */
export const DIGEST_LENGTH = 8;

const digests = new WeakMap<Member, string>();

/** @returns SHA-256 over all that is told of a member, cut off; in hexadecimal */
function digestOf(member: Member): string {
  const known = digests.get(member);
  if (known !== undefined) return known;
  const { credential, multiaddrs } = member;
  const hash = createHash('sha256').update(JSON.stringify(multiaddrs)).update(credential.bytes);
  const digest = hash.digest('hex').slice(0, 2 * DIGEST_LENGTH);
  digests.set(member, digest);
  return digest;
}

/** The member's end. @returns 8 bytes for each, in order */
export function digestsOf(members: readonly Member[]): Uint8Array {
  return Uint8Array.from(Buffer.from(members.map(digestOf).join(''), 'hex'));
}

export interface Comparison<T> {
  /** Members that the other end does not know, or not as they are now. */
  readonly unknown: readonly T[];
  /** A bit for each digest that came, first ones in the low bits: whether that member is as it says. */
  readonly kept: Uint8Array;
}

/** The super-peer's end. @param known digests that came; what does not make a whole one is ignored */
export function compare<T extends Member>(members: readonly T[], known: Uint8Array): Comparison<T> {
  const current = new Map(members.map((each) => [digestOf(each), each]));
  const count = Math.floor(known.length / DIGEST_LENGTH);
  const kept = new Uint8Array(Math.ceil(count / 8));
  const text = Buffer.from(known).toString('hex');
  for (let i = 0; i < count; i++) {
    const digest = text.slice(2 * DIGEST_LENGTH * i, 2 * DIGEST_LENGTH * (i + 1));
    if (current.delete(digest)) kept[i >> 3] = (kept[i >> 3] ?? 0) | (1 << (i & 7));
  }
  return { unknown: [...current.values()], kept };
}

/** The member's end. @returns whether the answer says that the member whose digest was number `i` stands */
export function stands(kept: Uint8Array, i: number): boolean {
  return (((kept[i >> 3] ?? 0) >> (i & 7)) & 1) === 1;
}
