/**
 * Membership shards: who one super-peer admitted to one service, signed by that super-peer.
 *
 * One shard per (service, super-peer), each with one writer, so that admissions at different
 * super-peers at the same time cannot lose each other.
 */
import {
  bytes,
  type Infer,
  message,
  repeated,
  required,
  string,
  uint53,
} from '../codec/protobuf.ts';
import { CREDENTIAL } from './credential.ts';
import type { RecordKind } from './envelope.ts';
import { peerId } from './peer-id.ts';

/** The most members in one shard. */
export const MAX_SHARD_MEMBERS = 4096;

const entry = message({
  /** The member's credential, as a signed envelope. */
  credential: required(1, bytes({ max: CREDENTIAL.maxLength })),
  /** Where the member can be dialled, as last seen by the super-peer. */
  multiaddrs: repeated(2, string({ min: 1, max: 256 }), { max: 8 }),
});

export type ShardEntry = Infer<typeof entry>;

const codec = message({
  serviceId: required(1, peerId()),
  superPeer: required(2, peerId()),
  sequence: required(3, uint53()),
  members: repeated(4, entry, { max: MAX_SHARD_MEMBERS }),
});

export type MembershipShard = Infer<typeof codec>;

export const MEMBERSHIP: RecordKind<MembershipShard> = {
  name: 'membership',
  codec,
  maxLength: 3 * 1024 * 1024,
};
