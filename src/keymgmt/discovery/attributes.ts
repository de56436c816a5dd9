/**
 * What discovery says in the language of attribute-based encryption.
 *
 *     label      value
 *     ServiceID  base58, as people see it
 *     PeerID     base58, as people see it
 *     VMID       UTF-8 in hexadecimal, since clouds put "-", "/" and ":" into names
 *     epoch      decimal
 *
 * Different facts have different values, and every value is one that a policy can name.
 */
import type { Ed25519PeerId } from '@libp2p/interface';

/** Bytes of a VMID; credentials hold no longer ones. */
export const MAX_VMID_BYTES = 128;

/** What a member's key says of it. */
export interface MemberFacts {
  readonly serviceId: Ed25519PeerId;
  readonly peerId: Ed25519PeerId;
  /** 1 to 128 bytes of UTF-8. */
  readonly vmid: string;
  readonly epoch: number;
}

export type MemberAttributes = Record<'ServiceID' | 'PeerID' | 'VMID' | 'epoch', string>;

/**
 * The attributes of a member's key. It opens what is for this member, and what is for the whole service
 * in this epoch; after a change of epoch a member gets a new key, and a revoked one does not.
 *
 * @throws RangeError for an epoch or VMID that no credential could hold
 */
export function memberAttributes({
  serviceId,
  peerId,
  vmid,
  epoch,
}: MemberFacts): MemberAttributes {
  const name = Buffer.from(vmid, 'utf8');
  if (name.length < 1 || name.length > MAX_VMID_BYTES || name.toString('utf8') !== vmid) {
    throw new RangeError(`a VMID has 1 to ${MAX_VMID_BYTES} bytes of UTF-8`);
  }
  return {
    ServiceID: serviceId.toString(),
    PeerID: peerId.toString(),
    VMID: name.toString('hex'),
    epoch: epochValue(epoch),
  };
}

/** The attributes of a super-peer's key: what is for the whole service, and nothing that is for one member. */
export function serviceAttributes(
  serviceId: Ed25519PeerId,
  epoch: number,
): Pick<MemberAttributes, 'ServiceID' | 'epoch'> {
  return { ServiceID: serviceId.toString(), epoch: epochValue(epoch) };
}

/** For one reader: the member that asked. */
export function requesterPolicy(peerId: Ed25519PeerId, serviceId: Ed25519PeerId): string {
  return `PeerID: ${peerId} and ServiceID: ${serviceId}`;
}

/** For all members of an epoch: the same ciphertext for everybody, to be kept anywhere. */
export function epochPolicy(serviceId: Ed25519PeerId, epoch: number): string {
  return `ServiceID: ${serviceId} and epoch: ${epochValue(epoch)}`;
}

function epochValue(epoch: number): string {
  if (!Number.isSafeInteger(epoch) || epoch < 0) throw new RangeError(`no epoch: ${epoch}`);
  return String(epoch);
}
