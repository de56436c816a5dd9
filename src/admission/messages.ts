/**
 * The messages of /icvpn/admission/1.0.0, in the order in which they are sent.
 *
 * ```
 *   VM                                            super-peer
 *    │ Opening   admit: Hello  suite, I, A, nonce      │
 *    ├────────────────────────────────────────────────▶│
 *    │ Reply     challenge: nonce, s, kdf, B           │   or: refusal, busy
 *    │◀────────────────────────────────────────────────┤
 *    │ Proof     M1, confirmation, {Request}           │
 *    ├────────────────────────────────────────────────▶│   acts only now
 *    │ Reply     grant: M2, confirmation, {Provision}  │   or: refusal
 *    │◀────────────────────────────────────────────────┤
 * ```
 *
 * {…} is sealed under keys that only the two ends of this very run have; see keys.ts.
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
} from '../codec/protobuf.ts';
import { CREDENTIAL } from '../records/credential.ts';
import { DESCRIPTOR } from '../records/descriptor.ts';
import { peerId } from '../records/peer-id.ts';
import { scryptParameters } from './kdf.ts';
import { SALT_LENGTH } from './sealed.ts';
import { GROUP_2048 } from './srp/group.ts';

export const ADMISSION_PROTOCOL = '/icvpn/admission/1.0.0';
export const PROTOCOL_VERSION = 1;
export const NONCE_LENGTH = 32;

/** Length of M1, M2 and of both confirmations. */
const PROOF_LENGTH = 32;
const GCM_TAG = 16;
const element = () => bytes({ length: GROUP_2048.N.length });

export const Hello = message({
  version: required(1, uint32()),
  suite: required(2, uint32()),
  serviceId: required(3, peerId()),
  identity: required(4, string({ min: 1, max: 64 })),
  nonce: required(5, bytes({ length: NONCE_LENGTH })),
  A: required(6, element()),
});
export type Hello = Infer<typeof Hello>;

export const Opening = message({ admit: optional(1, Hello) });
export type Opening = Infer<typeof Opening>;

export const Challenge = message({
  nonce: required(1, bytes({ length: NONCE_LENGTH })),
  salt: required(2, bytes({ length: SALT_LENGTH })),
  kdf: optional(3, scryptParameters),
  B: required(4, element()),
});
export type Challenge = Infer<typeof Challenge>;

/** What the VM says of itself. */
export const Request = message({
  vmid: required(1, string({ min: 1, max: 128 })),
  roles: repeated(2, string({ min: 1, max: 64 }), { max: 16 }),
  multiaddrs: repeated(3, string({ min: 1, max: 256 }), { max: 8 }),
});
export type Request = Infer<typeof Request>;

const MAX_REQUEST = 8 * 1024;

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
  renewalToken: required(4, bytes({ max: 256 })),
  /** The VM's address as the super-peer sees it; empty when it is not an IP address. */
  observedAddress: required(5, string({ max: 64 })),
});
export type Provision = Infer<typeof Provision>;

export const Grant = message({
  M2: required(1, bytes({ length: PROOF_LENGTH })),
  confirmation: required(2, bytes({ length: PROOF_LENGTH })),
  provision: required(3, bytes({ min: GCM_TAG, max: DESCRIPTOR.maxLength + 8 * 1024 })),
});
export type Grant = Infer<typeof Grant>;

/** Why not, as far as an unproven remote may know. */
export const REFUSED = 1;
/** Version or suite unknown. */
export const UNSUPPORTED = 2;
/** After the proof: the service has no address left, or the like; the text tells. */
export const UNAVAILABLE = 3;

export const Refusal = message({
  reason: required(1, uint32()),
  text: required(2, string({ max: 256 })),
});
export type Refusal = Infer<typeof Refusal>;

export const Reply = message({
  challenge: optional(1, Challenge),
  grant: optional(2, Grant),
  refusal: optional(3, Refusal),
  /** Seconds after which to try again. */
  busy: optional(4, uint32({ max: 3600 })),
});
export type Reply = Infer<typeof Reply>;

/** The largest message that a super-peer reads. */
export const MAX_TO_SUPER_PEER = 12 * 1024;
/** The largest message that a VM reads. */
export const MAX_TO_VM = DESCRIPTOR.maxLength + 16 * 1024;
