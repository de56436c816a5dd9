/** The bytes of sealed member lists. */
import {
  bytes,
  type Infer,
  message,
  optional,
  required,
  uint32,
  uint53,
} from '../../codec/protobuf.ts';
import type { RecordKind } from '../../records/envelope.ts';
import { peerId } from '../../records/peer-id.ts';

/** Bytes of a list in clear, whatever its form. */
export const MAX_LIST_BYTES = 4 * 1024 * 1024;
export const DATA_KEY_BYTES = 32;
export const IV_BYTES = 12;
export const TAG_BYTES = 16;

export const header = message({
  /** The data key, under the policy. */
  wrappedKey: required(1, bytes({ max: 8192 })),
  iv: required(2, bytes({ length: IV_BYTES })),
});

const requester = message({
  peerId: required(1, peerId()),
  nonce: required(2, bytes({ min: 16, max: 32 })),
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
  /** For whom, and the nonce of the request; absent in a list for all members of the epoch. */
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

/** What stands in a membership shard in the place of its content. */
export const sealedShard = message({
  epoch: required(1, uint32()),
  header: required(2, bytes({ max: 8300 })),
  body: required(3, bytes({ min: TAG_BYTES, max: MAX_LIST_BYTES + TAG_BYTES })),
});
