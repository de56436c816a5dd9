/**
 * Directory updates: a super-peer's word to its members on who the service's members are.
 *
 * A directory is a feed of changes, counted by its sequence; its id is drawn anew whenever a super-peer
 * starts. The first update of an attachment is for its recipient alone and bound to the recipient's
 * nonce, so that none from another attachment counts. It says where in the feed it stands, which of the
 * members that the recipient knew still stand, and who there is besides. Each later one says what has
 * changed since the sequence that is its `base`; it may be for everybody who is as far, and then names no
 * recipient. However long a list is, it is told: in as many parts as it needs.
 */
import { listedMultiaddrs } from '../codec/multiaddr.ts';
import {
  bytes,
  type Infer,
  message,
  optional,
  repeatedValid,
  required,
  uint32,
  uint53,
} from '../codec/protobuf.ts';
import { CREDENTIAL } from './credential.ts';
import type { RecordKind } from './envelope.ts';
import { peerId } from './peer-id.ts';

/** The most members that one update names; a longer list is told in several. */
export const MAX_UPDATE_MEMBERS = 1024;
/** The most members of which a member that attaches says that it knows them; it is told the rest again. */
export const MAX_KNOWN_MEMBERS = 16_384;
/** Bytes of the nonce that a member draws for each attachment. */
export const DIRECTORY_NONCE_LENGTH = 32;
/** Bytes of a feed's id. */
export const FEED_ID_LENGTH = 16;

/** A member as a directory lists it: its credential, and where it can be dialled. */
export const listedMember = message({
  credential: required(1, bytes({ max: CREDENTIAL.maxLength })),
  multiaddrs: listedMultiaddrs(2),
});

export type ListedMember = Infer<typeof listedMember>;

const recipient = message({
  peerId: required(1, peerId()),
  nonce: required(2, bytes({ length: DIRECTORY_NONCE_LENGTH })),
});

const codec = message({
  serviceId: required(1, peerId()),
  /** The one member that this update is for; absent in one for everybody. */
  recipient: optional(2, recipient),
  feed: required(3, bytes({ length: FEED_ID_LENGTH })),
  epoch: required(4, uint32()),
  /** How many changes the feed has had, those in this update included. */
  sequence: required(5, uint53()),
  /** The sequence that this update goes on from; absent in the first one of an attachment. */
  base: optional(6, uint53()),
  joined: repeatedValid(7, listedMember, { max: MAX_UPDATE_MEMBERS }),
  left: repeatedValid(8, peerId(), { max: MAX_UPDATE_MEMBERS }),
  /** Without a base: a bit for each member that the recipient said it knows, first ones in the low bits. */
  kept: optional(9, bytes({ max: MAX_KNOWN_MEMBERS / 8 })),
  /** Which part of what is told this is, from 0: parts have the same feed, sequence, base and kind of recipient. */
  part: required(10, uint32()),
  /** 1 in the last part. */
  last: required(11, uint32({ max: 1 })),
});

export type DirectoryUpdate = Infer<typeof codec>;

export const DIRECTORY: RecordKind<DirectoryUpdate> = {
  name: 'directory',
  codec,
  maxLength: 1024 * 1024,
};

/** Bytes of the members in one update, which leaves room for the rest of it. */
const MAX_LISTED_BYTES = DIRECTORY.maxLength - 64 * 1024;
/** Bytes that an entry takes beside credential and addresses, at most, and an address beside its text. */
const BYTES_BESIDE = 8;

/** What an update has of the list. */
export type DirectoryContents = Pick<DirectoryUpdate, 'joined' | 'left' | 'kept'>;

/** @returns what is to be told, in order, each part small enough for one update; one part at least */
export function partsOf({ joined, left, kept }: DirectoryContents): DirectoryContents[] {
  const parts: DirectoryContents[] = [{ joined: [], left: [], kept }];
  let bytes = 0;
  const last = (): DirectoryContents => {
    const part = parts.at(-1);
    if (part !== undefined && part.joined.length < MAX_UPDATE_MEMBERS) return part;
    return begin();
  };
  const begin = (): DirectoryContents => {
    const part = { joined: [], left: [], kept: undefined };
    parts.push(part);
    bytes = 0;
    return part;
  };
  for (const member of joined) {
    const size = bytesOf(member);
    const part = bytes + size > MAX_LISTED_BYTES ? begin() : last();
    part.joined.push(member);
    bytes += size;
  }
  // A PeerID is small: as many as an update may name have room beside its members.
  for (let at = 0; at < left.length; at += MAX_UPDATE_MEMBERS) {
    const part = parts[at / MAX_UPDATE_MEMBERS] ?? begin();
    part.left.push(...left.slice(at, at + MAX_UPDATE_MEMBERS));
  }
  return parts;
}

const bytesOf = ({ credential, multiaddrs }: ListedMember): number =>
  multiaddrs.reduce(
    (sum, each) => sum + each.length + BYTES_BESIDE,
    credential.length + BYTES_BESIDE,
  );
