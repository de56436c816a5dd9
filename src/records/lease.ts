/**
 * The lease of a virtual IPv4 address: the word of the super-peer that admitted a member, which stands in the
 * member's credential and is copied at renewals, so that no other super-peer can give the address.
 *
 * ```
 * signature of `admittedBy` over  "icvpn address lease 1" | Lease{serviceId, peerId, ipv4, since}
 * ```
 */
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { concat } from 'uint8arrays/concat';
import { ipv4 } from '../codec/ip.ts';
import { bytes, type Infer, message, required, uint53 } from '../codec/protobuf.ts';
import { ed25519Sign, ed25519Verify } from './ed25519.ts';
import { peerId } from './peer-id.ts';

const DOMAIN = new TextEncoder().encode('icvpn address lease 1');

const terms = message({
  serviceId: required(1, peerId()),
  peerId: required(2, peerId()),
  ipv4: required(3, ipv4()),
  /** Seconds since 1970. */
  since: required(4, uint53()),
});

/** What a lease is about. */
export type LeaseTerms = Infer<typeof terms>;

/** As it stands in a credential, which has the rest. */
export const LEASE = message({
  /** Seconds since 1970: of two members with one address the one with the older lease keeps it. */
  since: required(1, uint53()),
  /** Ed25519, 64 bytes. */
  signature: required(2, bytes({ length: 64 })),
});

export type Lease = Infer<typeof LEASE>;

const signed = (lease: LeaseTerms): Uint8Array => concat([DOMAIN, terms.encode(lease)]);

/** @param key of the super-peer that gives the address */
export function signLease(lease: LeaseTerms, key: PrivateKey): Lease {
  return { since: lease.since, signature: ed25519Sign(key, signed(lease)) };
}

/** Whether the super-peer that is said to have admitted a member has signed its lease. */
export function leaseHolds(credential: {
  readonly serviceId: Ed25519PeerId;
  readonly peerId: Ed25519PeerId;
  readonly ipv4: string;
  readonly admittedBy: Ed25519PeerId;
  readonly lease: Lease | undefined;
}): boolean {
  const { lease, admittedBy, serviceId, peerId: member, ipv4: address } = credential;
  if (lease === undefined) return false;
  const data = signed({ serviceId, peerId: member, ipv4: address, since: lease.since });
  return ed25519Verify(admittedBy.publicKey.raw, data, lease.signature);
}
