/** What the owner of a service keeps: the key, the secrets, and the newest of each record that it signed. */
import { privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import type { Ed25519PrivateKey } from '@libp2p/interface';
import { ADMISSION_SECRETS, type AdmissionSecrets } from '../admission/sealed.ts';
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
import {
  DESCRIPTOR,
  MAX_ADMITTERS,
  openDescriptor,
  type ServiceDescriptor,
} from '../records/descriptor.ts';
import { type Opened, open } from '../records/envelope.ts';
import { peerId } from '../records/peer-id.ts';
import { POLICY, type PolicyRecord } from '../records/policy-record.ts';
import { REVOCATION, type RevocationList } from '../records/revocation.ts';
import { SUPER_PEER_CARD } from '../records/super-peer-card.ts';

/** The most tickets remembered, so that they can be taken back by their identifiers. */
export const MAX_TICKETS = 8192;

const namedCard = message({
  peerId: required(1, peerId()),
  /** The super-peer's card, as a signed envelope. */
  card: required(2, bytes({ max: SUPER_PEER_CARD.maxLength })),
});

const issuedTicket = message({
  id: required(1, bytes({ length: 16 })),
  superPeer: required(2, peerId()),
  /** Seconds since 1970, both. */
  issued: required(3, uint53()),
  notAfter: required(4, uint53()),
  vmid: optional(5, string({ min: 1, max: 128 })),
});

const admittedAnew = message({
  /** Seconds since 1970. */
  since: required(1, uint53()),
  epoch: required(2, uint32()),
});

const outsideFile = message({
  path: required(1, string({ min: 1, max: 4096 })),
  /** Where its content waits, on the disk. */
  temporary: required(2, string({ min: 1, max: 4096 })),
  replace: required(3, uint32({ max: 1 })),
});

/** A file outside the directory that belongs to an act: bootstrap data. */
export type StagedFile = Infer<typeof outsideFile>;
export type IssuedTicket = Infer<typeof issuedTicket>;

const codec = message({
  /** As libp2p writes private keys. */
  key: required(1, bytes({ max: 128 })),
  secret: required(2, string({ min: 1, max: 1024 })),
  admissionSecrets: required(3, ADMISSION_SECRETS),
  cards: repeated(4, namedCard, { max: MAX_ADMITTERS }),
  descriptor: required(5, bytes({ max: DESCRIPTOR.maxLength })),
  policy: optional(6, bytes({ max: POLICY.maxLength })),
  revocations: optional(7, bytes({ max: REVOCATION.maxLength })),
  tickets: repeated(8, issuedTicket, { max: MAX_TICKETS }),
  admittedAnew: optional(9, admittedAnew),
  staged: optional(10, outsideFile),
});

type Kept = Infer<typeof codec>;

export interface OwnerState {
  readonly key: Ed25519PrivateKey;
  /** The service secret, as text. */
  readonly secret: string;
  readonly admissionSecrets: AdmissionSecrets;
  /** Of the super-peers that the descriptor names. */
  readonly cards: readonly Infer<typeof namedCard>[];
  readonly descriptor: Opened<ServiceDescriptor>;
  /** Undefined while none was signed. */
  readonly policy: Opened<PolicyRecord> | undefined;
  readonly revocations: Opened<RevocationList> | undefined;
  /** Issued, and worth something when the last one was. */
  readonly tickets: readonly IssuedTicket[];
  /** When and with which epoch all secrets were last replaced, so that nothing of before admits or renews. */
  readonly admittedAnew: Infer<typeof admittedAnew> | undefined;
}

/** @returns the state's bytes; to be overwritten by the caller */
export function encodeOwnerState(state: OwnerState, staged: StagedFile | undefined): Uint8Array {
  const key = privateKeyToProtobuf(state.key);
  const encoded = codec.encode({
    ...{ ...state, key, staged, cards: [...state.cards], tickets: [...state.tickets] },
    ...{ descriptor: state.descriptor.bytes, policy: state.policy?.bytes },
    revocations: state.revocations?.bytes,
  });
  key.fill(0);
  return encoded;
}

/** @throws DecodeError, EnvelopeError */
export async function decodeOwnerState(
  raw: Uint8Array,
): Promise<{ state: OwnerState; staged: StagedFile | undefined }> {
  const { staged, ...kept } = codec.decode(raw);
  const key = privateKeyFromProtobuf(kept.key);
  kept.key.fill(0);
  if (key.type !== 'Ed25519') throw new TypeError('an owner key is an Ed25519 key');
  return { state: { ...kept, key, ...(await openRecords(kept)) }, staged };
}

async function openRecords({
  descriptor,
  policy,
  revocations,
}: Pick<Kept, 'descriptor' | 'policy' | 'revocations'>) {
  return {
    descriptor: await openDescriptor(descriptor),
    policy: policy && (await open(POLICY, policy)),
    revocations: revocations && (await open(REVOCATION, revocations)),
  };
}
