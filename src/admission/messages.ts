/**
 * The messages of /icvpn/admission/1.0.0, in the order in which they are sent.
 *
 * ```
 *   VM                                            super-peer
 *    │ Opening   admit: suite, I, A, nonce, ticket?    │
 *    ├────────────────────────────────────────────────▶│   or: busy, refusal
 *    │ Reply     puzzle: seed, bits                    │ ┐
 *    │◀────────────────────────────────────────────────┤ │ under load or after
 *    │ Answer                                          │ │ wrong guesses only
 *    ├────────────────────────────────────────────────▶│ ┘
 *    │ Reply     challenge: nonce, s, kdf, B           │
 *    │◀────────────────────────────────────────────────┤
 *    │ Proof     M1, confirmation, {Request}           │
 *    ├────────────────────────────────────────────────▶│   acts only now
 *    │ Reply     grant: M2, confirmation, {Provision}  │   or: refusal
 *    │◀────────────────────────────────────────────────┤
 *
 *    │ Opening   renew: credential, token, nonce,      │
 *    │           confirmation, {Request}               │
 *    ├────────────────────────────────────────────────▶│   acts only now
 *    │ Reply     renewal: nonce, confirmation,         │   or: busy, refusal
 *    │           {Provision}                           │
 *    │◀────────────────────────────────────────────────┤
 * ```
 *
 * {…} is sealed under keys that only the two ends of this very run have; see keys.ts.
 */
import { cidr } from '../codec/ip.ts';
import { ownMultiaddrs } from '../codec/multiaddr.ts';
import {
  bytes,
  type Infer,
  message,
  optional,
  repeated,
  required,
  uint32,
  uint53,
} from '../codec/protobuf.ts';
import { plainText, remark } from '../codec/text.ts';
import { CREDENTIAL, MAX_SUBNETS, roles, vmid } from '../records/credential.ts';
import { DESCRIPTOR } from '../records/descriptor.ts';
import { peerId } from '../records/peer-id.ts';
import { scryptParameters } from './kdf.ts';
import { ANSWER_LENGTH, SEED_LENGTH } from './puzzle.ts';
import { SALT_LENGTH } from './sealed.ts';
import { GROUP_2048 } from './srp/group.ts';
import { TICKET } from './ticket.ts';

export const ADMISSION_PROTOCOL = '/icvpn/admission/1.0.0';
export const PROTOCOL_VERSION = 1;
export const NONCE_LENGTH = 32;

/** Length of M1, M2 and of both confirmations. */
const PROOF_LENGTH = 32;
const GCM_TAG = 16;
const MAX_REQUEST = 4 * 1024;
const MAX_TOKEN = 256;
const MAX_PROVISION = DESCRIPTOR.maxLength + 8 * 1024;
const element = () => bytes({ length: GROUP_2048.N.length });

export const Hello = message({
  version: required(1, uint32()),
  suite: required(2, uint32()),
  serviceId: required(3, peerId()),
  identity: required(4, plainText({ min: 1, max: 64 })),
  nonce: required(5, bytes({ length: NONCE_LENGTH })),
  A: required(6, element()),
  /** The ticket by which the VM asks, as its owner signed it. */
  ticket: optional(7, bytes({ max: TICKET.maxLength })),
});
export type Hello = Infer<typeof Hello>;

export const RenewalHello = message({
  version: required(1, uint32()),
  /** The credential to be renewed. */
  credential: required(2, bytes({ max: CREDENTIAL.maxLength })),
  token: required(3, bytes({ max: MAX_TOKEN })),
  nonce: required(4, bytes({ length: NONCE_LENGTH })),
});
export type RenewalHello = Infer<typeof RenewalHello>;

export const Renew = message({
  hello: required(1, RenewalHello),
  confirmation: required(2, bytes({ length: PROOF_LENGTH })),
  /** A sealed RenewalRequest. */
  request: required(3, bytes({ min: GCM_TAG, max: MAX_REQUEST })),
});
export type Renew = Infer<typeof Renew>;

/** One of the two. */
export const Opening = message({ admit: optional(1, Hello), renew: optional(2, Renew) });
export type Opening = Infer<typeof Opening>;

export const Answer = message({ answer: required(1, bytes({ length: ANSWER_LENGTH })) });

export const Challenge = message({
  nonce: required(1, bytes({ length: NONCE_LENGTH })),
  salt: required(2, bytes({ length: SALT_LENGTH })),
  kdf: optional(3, scryptParameters),
  B: required(4, element()),
  /** Seconds since 1970 by the super-peer's clock: a VM whose clock differs goes no further, and uses nothing up. */
  time: required(5, uint53()),
});
export type Challenge = Infer<typeof Challenge>;

/** What the VM says of itself. */
export const Request = message({
  vmid: required(1, vmid()),
  roles: roles(2),
  multiaddrs: ownMultiaddrs(3),
  /** CIDRs behind the VM that it would announce. */
  subnets: repeated(4, cidr(), { max: MAX_SUBNETS }),
});
export type Request = Infer<typeof Request>;

/** What a member that renews says of itself: the rest stands in its credential. */
export const RenewalRequest = message({
  multiaddrs: ownMultiaddrs(1),
  subnets: repeated(2, cidr(), { max: MAX_SUBNETS }),
});
export type RenewalRequest = Infer<typeof RenewalRequest>;

export const Proof = message({
  M1: required(1, bytes({ length: PROOF_LENGTH })),
  confirmation: required(2, bytes({ length: PROOF_LENGTH })),
  request: required(3, bytes({ min: GCM_TAG, max: MAX_REQUEST })),
});
export type Proof = Infer<typeof Proof>;

/** What the VM gets. */
export const Provision = message({
  /** Signed by the super-peer. */
  credential: required(1, bytes({ max: CREDENTIAL.maxLength })),
  /** Signed by the service's owner. */
  descriptor: required(2, bytes({ max: DESCRIPTOR.maxLength })),
  epochPsk: required(3, bytes({ length: 32 })),
  /** State for the next renewal that only super-peers can open. */
  renewalToken: required(4, bytes({ max: MAX_TOKEN })),
  /** The VM's address as the super-peer sees it; empty when it is not an IP address. */
  observedAddress: required(5, plainText({ max: 64 })),
});
export type Provision = Infer<typeof Provision>;

export const Grant = message({
  M2: required(1, bytes({ length: PROOF_LENGTH })),
  confirmation: required(2, bytes({ length: PROOF_LENGTH })),
  provision: required(3, bytes({ min: GCM_TAG, max: MAX_PROVISION })),
});
export type Grant = Infer<typeof Grant>;

export const Renewal = message({
  nonce: required(1, bytes({ length: NONCE_LENGTH })),
  confirmation: required(2, bytes({ length: PROOF_LENGTH })),
  provision: required(3, bytes({ min: GCM_TAG, max: MAX_PROVISION })),
});
export type Renewal = Infer<typeof Renewal>;

const Puzzle = message({
  seed: required(1, bytes({ length: SEED_LENGTH })),
  bits: required(2, uint32({ max: 255 })),
});

/** Why not, as far as an unproven remote may know. */
export const REFUSED = 1;
/** Version or suite unknown. */
export const UNSUPPORTED = 2;
/** After the proof only: such as that the ticket is used up; the text tells. */
export const UNAVAILABLE = 3;
/** The super-peer cannot write to its disk: the VM may try another one. */
export const NOT_STORED = 5;

/** After the proof only: every address of this super-peer is leased; another may have one. */
export const NO_ADDRESS = 4;
/** After the proof only: this VM was thrown out of the service. */
export const REVOKED = 6;

export const Refusal = message({
  reason: required(1, uint32()),
  text: required(2, remark({ max: 256 })),
});
export type Refusal = Infer<typeof Refusal>;

export const Reply = message({
  challenge: optional(1, Challenge),
  grant: optional(2, Grant),
  refusal: optional(3, Refusal),
  /** Seconds after which to try again. */
  busy: optional(4, uint32({ max: 3600 })),
  puzzle: optional(5, Puzzle),
  renewal: optional(6, Renewal),
});
export type Reply = Infer<typeof Reply>;

/** The largest message that a super-peer reads, in bytes. */
export const MAX_TO_SUPER_PEER = 10 * 1024;
/** The largest message that a VM reads, in bytes. */
export const MAX_TO_VM = DESCRIPTOR.maxLength + 16 * 1024;
