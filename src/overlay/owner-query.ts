/**
 * What a service's owner asks a super-peer: which records of the owner's does it hold?
 *
 * The owner is no member, and strangers must not learn which services a super-peer knows. So the question is
 * signed with the key that the ServiceID is. It names the super-peer and the node that asks, which Noise has
 * proved: a question that was seen is of no use over another connection, and needs no clock.
 */
import type { Ed25519PeerId, PeerId, PrivateKey } from '@libp2p/interface';
import { bytes, type Infer, message, required, string } from '../codec/protobuf.ts';
import { EnvelopeError, type Opened, open, type RecordKind, seal } from '../records/envelope.ts';
import { peerId } from '../records/peer-id.ts';
import type { Records } from './records.ts';
import {
  DESCRIPTOR_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
  SPREAD_KINDS,
} from './stored-kinds.ts';

/** What stands in a request in the place of the namespace of a kind. */
export const OWNER_QUERY_NAMESPACE = 'icvpn-owner-query';
/** Milliseconds for tier 1 to tell of newer versions, before those that are here are told. */
const LOOKUP_LIMIT = 2_000;

const codec = message({
  serviceId: required(1, peerId()),
  superPeer: required(2, peerId()),
  /** The node that asks. */
  asker: required(3, peerId()),
});

export const OWNER_QUERY: RecordKind<Infer<typeof codec>> = {
  name: 'owner-query',
  codec,
  maxLength: 512,
};

const longest = Math.max(...SPREAD_KINDS.map(({ record }) => record.maxLength));

export const HELD_RECORD = message({
  namespace: required(1, string({ max: 64 })),
  envelope: required(2, bytes({ max: longest })),
});
export type HeldRecord = Infer<typeof HELD_RECORD>;

/** Bytes of all records that an owner can have at a super-peer. */
export const MAX_HELD = SPREAD_KINDS.reduce((sum, { record }) => sum + record.maxLength + 128, 0);

/** @param ownerKey of the service @param ends of the connection that it is asked over */
export function sealQuery(ownerKey: PrivateKey, ends: Infer<typeof codec>): Promise<Uint8Array> {
  return seal(OWNER_QUERY, ends, ownerKey);
}

export interface QueryContext {
  readonly records: Records;
  readonly self: Ed25519PeerId;
  /** The other end of the connection. */
  readonly remote: PeerId;
  /** Whether tier 1 is asked, too. */
  readonly allow: (serviceId: Ed25519PeerId) => boolean;
  readonly signal: AbortSignal;
}

/**
 * @returns the newest descriptor, policy and list of the owner's that are known
 * @throws EnvelopeError when the service's own key did not sign this question, to this node, by this asker
 */
export async function answerQuery(
  envelope: Uint8Array,
  context: QueryContext,
): Promise<HeldRecord[]> {
  const { records, self, remote, allow } = context;
  const { value, signer } = await open(OWNER_QUERY, envelope);
  const { serviceId, superPeer, asker } = value;
  if (!signer.equals(serviceId) || !superPeer.equals(self) || !asker.equals(remote)) {
    throw new EnvelopeError(OWNER_QUERY.name, 'it is another owner’s, or for another connection');
  }
  // A stranger with a key of its own makes no work for tier 1.
  if (allow(serviceId)) {
    const signal = AbortSignal.any([context.signal, AbortSignal.timeout(LOOKUP_LIMIT)]);
    await Promise.allSettled([
      records.get(DESCRIPTOR_RECORD, [serviceId], { signal }),
      records.get(POLICY_RECORD, [serviceId], { signal }),
      records.get(REVOCATION_RECORD, [serviceId, serviceId], { signal }),
    ]);
  }
  const held: [string, Opened<unknown> | undefined][] = [
    [DESCRIPTOR_RECORD.namespace, records.latest(DESCRIPTOR_RECORD, serviceId)],
    [POLICY_RECORD.namespace, records.latest(POLICY_RECORD, serviceId)],
    [REVOCATION_RECORD.namespace, records.latest(REVOCATION_RECORD, serviceId, serviceId)],
  ];
  return held.flatMap(([namespace, opened]) =>
    opened === undefined ? [] : [{ namespace, envelope: opened.bytes }],
  );
}
