/** The bytes of sealed member lists. */
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
} from '../../codec/protobuf.ts';
import { CREDENTIAL } from '../../records/credential.ts';
import type { RecordKind } from '../../records/envelope.ts';
import { peerId } from '../../records/peer-id.ts';

/** Members in one list. */
export const MAX_LIST_MEMBERS = 4096;
/** Bytes of a list in clear. */
export const MAX_LIST_BYTES = 3 * 1024 * 1024;
/** Bytes of the nonce that a requester chooses. */
export const REQUEST_NONCE_BYTES = 16;
export const DATA_KEY_BYTES = 32;
export const IV_BYTES = 12;
export const TAG_BYTES = 16;

const member = message({
  /** The member's credential, as a signed envelope. */
  credential: required(1, bytes({ max: CREDENTIAL.maxLength })),
  multiaddrs: repeated(2, string({ min: 1, max: 256 }), { max: 8 }),
});

/** One entry of a list. The credential is for the reader to check. */
export type ListedMember = Infer<typeof member>;

export const memberList = message({
  members: repeated(1, member, { max: MAX_LIST_MEMBERS }),
});

export const header = message({
  /** The data key, under the policy. */
  wrappedKey: required(1, bytes({ max: 8192 })),
  iv: required(2, bytes({ length: IV_BYTES })),
});

const requester = message({
  peerId: required(1, peerId()),
  nonce: required(2, bytes({ length: REQUEST_NONCE_BYTES })),
});

const statement = message({
  serviceId: required(1, peerId()),
  epoch: required(2, uint32()),
  /** Later lists of the same super-peer have larger ones. */
  sequence: required(3, uint53()),
  /** Seconds since 1970, exclusive. */
  notAfter: required(4, uint53()),
  /** SHA-256(SHA-256(header) || body) */
  ciphertextHash: required(5, bytes({ length: 32 })),
  /** Who asked, and with which nonce; absent in a list for the whole epoch. */
  requester: optional(6, requester),
});

/** What the super-peer signs. */
export type ListStatement = Infer<typeof statement>;

export const LIST_STATEMENT: RecordKind<ListStatement> = {
  name: 'member-list',
  codec: statement,
  maxLength: 512,
};

export const sealedList = message({
  statement: required(1, bytes({ max: LIST_STATEMENT.maxLength })),
  header: required(2, bytes({ max: 8300 })),
  body: required(3, bytes({ min: TAG_BYTES, max: MAX_LIST_BYTES + TAG_BYTES })),
});
