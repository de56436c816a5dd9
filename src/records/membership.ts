/**
 * Membership shards: which members of a service one super-peer has, signed by that super-peer.
 *
 * Each shard has one writer, so that admissions at different super-peers at the same time cannot
 * lose each other. A super-peer's shard is cut into buckets by the hash of the member's PeerID, one
 * record each, so that what is written when one member joins does not grow with their number.
 *
 * A member may move: it was admitted or attached at one super-peer, then attaches to another. Every
 * entry therefore carries the member's own session number, higher at each of its attachments, and of
 * all shards' words on a member the one with the highest number holds. A member that left is
 * remembered as departed for a while, so that an older entry elsewhere does not bring it back.
 *
 * What a record is about and its sequence stand in clear, for every node that stores it. Whom it lists is
 * sealed: nodes store records of services that are not theirs (`docs/discovery.md`).
 */
import { createHash } from 'node:crypto';
import type { Ed25519PeerId } from '@libp2p/interface';
import { listedMultiaddrs, MAX_MULTIADDRS } from '../codec/multiaddr.ts';
import {
  bytes,
  type Infer,
  type MessageCodec,
  message,
  repeatedValid,
  required,
  uint32,
  uint53,
} from '../codec/protobuf.ts';
import { CREDENTIAL } from './credential.ts';
import type { RecordKind } from './envelope.ts';
import { peerId } from './peer-id.ts';

/** Records that one super-peer's members of one service are spread over. */
export const SHARD_BUCKETS = 32;
/** The most members in one bucket: 10,000 at one super-peer are 313 in each, and 400 have room with the longest credentials. */
export const MAX_BUCKET_MEMBERS = 512;
/** The most departed members that a bucket remembers. */
export const MAX_BUCKET_DEPARTED = 256;
/** Bytes of a bucket's content, sealed or not. */
const MAX_SHARD_BYTES = 1023 * 1024;
/** Bytes of a bucket's content before it is sealed: what seals it adds less than the rest. */
const MAX_CONTENT_BYTES = 1007 * 1024;
/** Bytes of the departed, and of an entry apart from credential and addresses, at most. */
const BYTES_OF = { departed: MAX_BUCKET_DEPARTED * 64, entry: 16 };

const entry = message({
  /** The member's credential, as a signed envelope. */
  credential: required(1, bytes({ max: CREDENTIAL.maxLength })),
  /** Where the member can be dialled: as it says itself and as the super-peer sees it. */
  multiaddrs: listedMultiaddrs(2),
  /** Number of the member's attachment; 0 for one that was admitted and has not attached yet. */
  session: required(3, uint53()),
});

export type ShardEntry = Infer<typeof entry>;

const departure = message({
  peerId: required(1, peerId()),
  /** The session that ended. */
  session: required(2, uint53()),
});

export type Departure = Infer<typeof departure>;

const content = message({
  members: repeatedValid(1, entry, { max: MAX_BUCKET_MEMBERS }),
  departed: repeatedValid(2, departure, { max: MAX_BUCKET_DEPARTED }),
});

/** Whom a shard lists. */
export type ShardContent = Infer<typeof content>;

export const SHARD_CONTENT: MessageCodec<ShardContent> = content;

/** @returns whether members with credentials of these lengths, in bytes, fit into one bucket */
export function fitIntoBucket(credentials: readonly number[]): boolean {
  if (credentials.length > MAX_BUCKET_MEMBERS) return false;
  const bytes = credentials.reduce((sum, length) => sum + length + BYTES_OF.entry, 0);
  return bytes + BYTES_OF.departed <= MAX_CONTENT_BYTES;
}

/**
 * @returns the bytes of a bucket's content. Where they would be too many, each member has as many of its
 *   addresses, the first ones, as there is room for
 * @throws RangeError when the members do not fit without any (`fitIntoBucket`)
 */
export function encodeShardContent({ members, departed }: ShardContent): Uint8Array {
  for (let most = MAX_MULTIADDRS; most >= 0; most--) {
    const fewer = members.map((each) => ({ ...each, multiaddrs: each.multiaddrs.slice(0, most) }));
    const encoded = content.encode({ members: fewer, departed });
    if (encoded.length <= MAX_CONTENT_BYTES) return encoded;
  }
  throw new RangeError(`${members.length} members do not fit into a bucket`);
}

const codec = message({
  serviceId: required(1, peerId()),
  superPeer: required(2, peerId()),
  bucket: required(3, uint32({ max: SHARD_BUCKETS - 1 })),
  sequence: required(4, uint53()),
  /** A `ShardContent`, sealed where the service has an attribute authority. */
  content: required(5, bytes({ max: MAX_SHARD_BYTES })),
});

export type MembershipShard = Infer<typeof codec>;

export const MEMBERSHIP: RecordKind<MembershipShard> = {
  name: 'membership',
  codec,
  maxLength: MAX_SHARD_BYTES + 1024,
};

/** @returns which bucket a member is in, at every super-peer */
export function bucketOf(member: Ed25519PeerId): number {
  const digest = createHash('sha256').update(member.toMultihash().bytes).digest();
  return (digest[0] ?? 0) % SHARD_BUCKETS;
}
