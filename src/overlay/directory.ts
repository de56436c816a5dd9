/**
 * What both ends of the directory protocol, `/icvpn/<ServiceID>/directory/1.0.0`, agree on.
 *
 * ```
 *  member                                            super-peer
 *   │ attach {nonce, session, my addresses, whom I know}  │ enters the member in its shard
 *   ├────────────────────────────────────────────────────▶│
 *   │         update {nonce, who still stands, joined} …  │ signed for this member, in parts if it is long
 *   │◀────────────────────────────────────────────────────┤
 *   │                          news {joined, left} …      │ at each change, collected for 100 ms or more;
 *   │◀────────────────────────────────────────────────────┤ signed once for all who are as far
 *   │ beat                                                │ every 10 s; answered. 22 s of silence
 *   ├──────────────────────────────────────────▶◀─────────┤ end the stream on either side
 *   │                     duplicate {where the other is}  │ one node key is used by two machines
 *   │◀────────────────────────────────────────────────────┤
 *   │ goodbye                                             │ removes the member at once
 *   ├────────────────────────────────────────────────────▶│
 *   │                                                end  │
 *   │◀────────────────────────────────────────────────────┤
 * ```
 */
import { ownMultiaddrs } from '../codec/multiaddr.ts';
import {
  bytes,
  type Infer,
  message,
  optional,
  required,
  uint32,
  uint53,
} from '../codec/protobuf.ts';
import { remark } from '../codec/text.ts';
import type { Credential } from '../records/credential.ts';
import { DIRECTORY, DIRECTORY_NONCE_LENGTH, MAX_KNOWN_MEMBERS } from '../records/directory.ts';
import { DIGEST_LENGTH } from './known-members.ts';

export const DIRECTORY_SUFFIX = 'directory/1.0.0';
/** Milliseconds between beats. */
export const BEAT_INTERVAL = 10_000;
/** Milliseconds of silence after which the other end counts as gone. */
export const SILENCE_LIMIT = 22_000;
/** Milliseconds for one message to be sent, or for the first one to come. */
export const MESSAGE_LIMIT = 10_000;

const attach = message({
  nonce: required(1, bytes({ length: DIRECTORY_NONCE_LENGTH })),
  /** Higher at each attachment of this member, at whichever super-peer: its clock in milliseconds. */
  session: required(2, uint53()),
  multiaddrs: ownMultiaddrs(3),
  /** Digests of the members that it knows already (`known-members.ts`). */
  known: optional(4, bytes({ max: MAX_KNOWN_MEMBERS * DIGEST_LENGTH })),
});

/** Room for what sealing adds to an update. */
const SEAL_OVERHEAD = 64 * 1024;

/** One of the fields is there; `beat` and `goodbye` are 1. */
const FRAME = message({
  attach: optional(1, attach),
  update: optional(2, bytes({ max: DIRECTORY.maxLength + SEAL_OVERHEAD })),
  beat: optional(3, uint32({ max: 1 })),
  goodbye: optional(4, uint32({ max: 1 })),
  /** As `update`, for all who are as far. */
  news: optional(5, bytes({ max: DIRECTORY.maxLength + SEAL_OVERHEAD })),
  /** To a member: another machine uses its node key; where that is, as far as the super-peer can tell. */
  duplicate: optional(6, remark({ max: 256 })),
});

export type DirectoryFrame = Infer<typeof FRAME>;
/** The member's end. What it is told while it checks what came before waits, up to so many bytes. */
export const DIRECTORY_FRAMES = {
  reads: FRAME,
  writes: FRAME,
  maxLength: DIRECTORY.maxLength + SEAL_OVERHEAD + 16,
  maxBuffered: 32 * 1024 * 1024,
};
/** The super-peer's end. */
export const ATTACH_FRAMES = {
  reads: FRAME,
  writes: FRAME,
  maxLength: MAX_KNOWN_MEMBERS * DIGEST_LENGTH + 8 * 1024,
};

export function frame(fields: Partial<DirectoryFrame>): DirectoryFrame {
  const none = { attach: undefined, update: undefined, beat: undefined, goodbye: undefined };
  return { ...none, news: undefined, duplicate: undefined, ...fields };
}

/** Whom an update for all is for. */
export type ServiceEpoch = Pick<Credential, 'serviceId' | 'epoch'>;

/**
 * How updates are hidden from everybody but the members they are for. The signature is inside: what
 * is sealed is an envelope. The nonce is the one that the member drew for its attachment.
 */
export interface DirectorySeal {
  /** On the super-peer. */
  seal(envelope: Uint8Array, recipient: Credential, nonce: Uint8Array): Promise<Uint8Array>;
  /** On the super-peer: for all members of an epoch, which must be the newest. */
  sealForAll(envelope: Uint8Array, of: ServiceEpoch): Promise<Uint8Array>;
  /** On the member. @param nonce undefined for what was sealed for all */
  open(sealed: Uint8Array, nonce: Uint8Array | undefined): Promise<Uint8Array>;
}

/** Noise alone hides the updates. */
export const PLAIN: DirectorySeal = {
  seal: async (envelope) => envelope,
  sealForAll: async (envelope) => envelope,
  open: async (sealed) => sealed,
};
