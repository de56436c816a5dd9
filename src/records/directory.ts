/**
 * Directory updates: a super-peer's word to its members on who the service's members are.
 *
 * A directory is a feed of changes, counted by its sequence; its id is drawn anew whenever a super-peer
 * starts. The first update of an attachment is for its recipient alone and bound to the recipient's
 * nonce, so that none from another attachment counts. It says where in the feed it stands, which of the
 * members that the recipient knew still stand, and who there is besides. Each later one says what has
 * changed since the sequence that is its `base`; it may be for everybody who is as far, and then names no
 * recipient.
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

/** The most members that a directory lists. */
export const MAX_DIRECTORY_MEMBERS = 4096;
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
  joined: repeatedValid(7, listedMember, { max: MAX_DIRECTORY_MEMBERS }),
  left: repeatedValid(8, peerId(), { max: MAX_DIRECTORY_MEMBERS }),
  /** Without a base: a bit for each member that the recipient said it knows, first ones in the low bits. */
  kept: optional(9, bytes({ max: MAX_DIRECTORY_MEMBERS / 8 })),
});

export type DirectoryUpdate = Infer<typeof codec>;

export const DIRECTORY: RecordKind<DirectoryUpdate> = {
  name: 'directory',
  codec,
  maxLength: 3 * 1024 * 1024,
};
