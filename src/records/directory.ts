/**
 * Directory updates: a super-peer's word to one member on who the service's members are.
 *
 * Never stored, so that no sequence floor protects them; the member's own nonce does. The first
 * update of an attachment has no `base` and is the whole list; each later one says what has changed
 * since the update whose sequence is `base`.
 */
import {
  bytes,
  type Infer,
  message,
  optional,
  repeated,
  required,
  string,
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

const listed = message({
  credential: required(1, bytes({ max: CREDENTIAL.maxLength })),
  multiaddrs: repeated(2, string({ min: 1, max: 256 }), { max: 8 }),
  /** The super-peer that the member is attached to or was admitted by. */
  superPeer: required(3, peerId()),
});

export type ListedMember = Infer<typeof listed>;

const codec = message({
  serviceId: required(1, peerId()),
  /** The member that this update is for. */
  recipient: required(2, peerId()),
  nonce: required(3, bytes({ length: DIRECTORY_NONCE_LENGTH })),
  epoch: required(4, uint32()),
  sequence: required(5, uint53()),
  base: optional(6, uint53()),
  joined: repeated(7, listed, { max: MAX_DIRECTORY_MEMBERS }),
  left: repeated(8, peerId(), { max: MAX_DIRECTORY_MEMBERS }),
});

export type DirectoryUpdate = Infer<typeof codec>;

export const DIRECTORY: RecordKind<DirectoryUpdate> = {
  name: 'directory',
  codec,
  maxLength: 3 * 1024 * 1024,
};
