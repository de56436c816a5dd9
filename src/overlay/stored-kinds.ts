/**
 * The kinds of record that the DHTs store: for each its key, who must sign it, how its versions are
 * ordered and when it ends. `docs/records.md` describes them for people.
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { readPolicy } from '../policy/embedded-tests.ts';
import { DESCRIPTOR, isSameEpoch, type ServiceDescriptor } from '../records/descriptor.ts';
import { ENDPOINT, type Endpoint, MAX_ENDPOINT_LIFETIME } from '../records/endpoint.ts';
import type { RecordKind } from '../records/envelope.ts';
import { MEMBERSHIP, type MembershipShard } from '../records/membership.ts';
import { POLICY, type PolicyRecord } from '../records/policy-record.ts';
import { REVOCATION, type RevocationList } from '../records/revocation.ts';

/** A record kind with what a store must know to keep it safely. */
export interface StoredKind<T> {
  readonly record: RecordKind<T>;
  /** First part of the key, `/<namespace>/<name>/…`. */
  readonly namespace: string;
  /** The parts of the key behind the namespace: the record's own identity. The service comes first. */
  names(value: T): readonly (string | Ed25519PeerId)[];
  /** How many those are. */
  readonly parts: number;
  /** Which of these parts, from 0, is the id of the signer. */
  readonly signerPart: number;
  /** The only key that may sign this record. */
  signer(value: T): Ed25519PeerId;
  /** The service that the record belongs to. */
  service(value: T): Ed25519PeerId;
  sequence(value: T): number;
  /** Goes before the sequence in the order of versions; 0 for kinds that have no epochs. */
  epoch?(value: T): number;
  /** Whether two versions that say the same epoch mean the same one; of others the first stays. */
  isSameEpoch?(a: T, b: T): boolean;
  /** Seconds since 1970 from when on the record means nothing; undefined when it has no end. */
  notAfter(value: T): number | undefined;
  /** Seconds that it may last at most, where it ends; it makes room for what has no end. */
  readonly longest?: number;
  /**
   * Whether a node has it on the disk before it says that it holds it: the owner's word, and a super-peer's. What its
   * signer writes anew before long need not be.
   */
  readonly durable?: boolean;
  /** Whether the content can be used; a store keeps nothing for which this throws an IcvpnError. */
  check?(value: T): void;
}

/** @returns the key of a record in the DHT */
export function recordKey<T>(
  kind: StoredKind<T>,
  ...names: readonly (string | Ed25519PeerId)[]
): string {
  return `/${kind.namespace}/${names.join('/')}`;
}

/** @returns the names in a key: of the service, then of the record within it */
export const keyNames = (key: string): string[] => key.split('/').slice(2);

/** Service descriptors: in tier 1, and a copy in the service's own tier 2. */
export const DESCRIPTOR_RECORD: StoredKind<ServiceDescriptor> = {
  record: DESCRIPTOR,
  namespace: 'icvpn-descriptor',
  parts: 1,
  signerPart: 0,
  names: (value) => [value.serviceId],
  signer: (value) => value.serviceId,
  service: (value) => value.serviceId,
  sequence: (value) => value.sequence,
  epoch: (value) => value.epoch,
  isSameEpoch,
  notAfter: () => undefined,
  durable: true,
};

/** Membership shards: in tier 1. */
export const MEMBERSHIP_RECORD: StoredKind<MembershipShard> = {
  record: MEMBERSHIP,
  namespace: 'icvpn-membership',
  parts: 3,
  signerPart: 1,
  names: (value) => [value.serviceId, value.superPeer, String(value.bucket)],
  signer: (value) => value.superPeer,
  service: (value) => value.serviceId,
  sequence: (value) => value.sequence,
  notAfter: () => undefined,
};

/** Where members can be reached: in tier 2. */
export const ENDPOINT_RECORD: StoredKind<Endpoint> = {
  record: ENDPOINT,
  namespace: 'icvpn-endpoint',
  parts: 2,
  signerPart: 1,
  names: (value) => [value.serviceId, value.peerId],
  signer: (value) => value.peerId,
  service: (value) => value.serviceId,
  sequence: (value) => value.sequence,
  notAfter: (value) => value.notAfter,
  longest: MAX_ENDPOINT_LIFETIME,
};

/** Which members are out: in tier 1 and tier 2, one list of the owner and one of each super-peer. */
export const REVOCATION_RECORD: StoredKind<RevocationList> = {
  record: REVOCATION,
  namespace: 'icvpn-revocation',
  parts: 2,
  signerPart: 1,
  names: (value) => [value.serviceId, value.issuer],
  signer: (value) => value.issuer,
  service: (value) => value.serviceId,
  sequence: (value) => value.sequence,
  notAfter: () => undefined,
  durable: true,
};

/**
 * The owner's policy: in tier 1 and tier 2. One that cannot be read, or whose own tests fail, is kept
 * nowhere: what was there before it goes on.
 */
export const POLICY_RECORD: StoredKind<PolicyRecord> = {
  record: POLICY,
  namespace: 'icvpn-policy',
  parts: 1,
  signerPart: 0,
  names: (value) => [value.serviceId],
  signer: (value) => value.serviceId,
  service: (value) => value.serviceId,
  sequence: (value) => value.sequence,
  notAfter: () => undefined,
  durable: true,
  check: ({ document }) => void readPolicy(document),
};

/** What every node of a service must have the newest version of: pushed to them, and polled. */
export const SPREAD_KINDS: readonly StoredKind<unknown>[] = [
  DESCRIPTOR_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
];
