/** What a super-peer gives to who proved itself: a credential, and what goes with it. */
import { randomBytes } from 'node:crypto';
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import type { TcpMultiaddr } from '../codec/multiaddr.ts';
import { covers, parseSubnet } from '../policy/subnet.ts';
import { CREDENTIAL, type Credential, heldSince } from '../records/credential.ts';
import { admitterOf, type ServiceDescriptor } from '../records/descriptor.ts';
import { type Opened, open, seal } from '../records/envelope.ts';
import { leaseHolds, signLease } from '../records/lease.ts';
import { ipv6Address } from '../records/virtual-address.ts';
import { Provision } from './messages.ts';
import { sealRenewalState } from './renewal-token.ts';
import type { AdmissionSecrets } from './sealed.ts';
import type { ServerContext } from './server-session.ts';

/** A service that this super-peer admits to: the newest descriptor, and its secrets opened. */
export interface ServedService {
  readonly descriptor: Opened<ServiceDescriptor>;
  readonly secrets: AdmissionSecrets;
}

/** Who is admitted or renewed: the PeerID that Noise proved, and what the VM says of itself. */
export interface Applicant {
  readonly peerId: Ed25519PeerId;
  readonly vmid: string;
  readonly roles: string[];
  readonly multiaddrs: TcpMultiaddr[];
  /** IP address that the connection comes from; empty when it has none. */
  readonly remoteAddress: string;
}

/** @returns the service if `superPeer` may admit to it by the service's own descriptor */
export function admittedBy(
  service: ServedService | undefined,
  superPeer: Ed25519PeerId,
): ServedService | undefined {
  if (service === undefined) return undefined;
  return admitterOf(service.descriptor.value, superPeer) === undefined ? undefined : service;
}

/** @returns of the CIDRs asked for those of which the owner's policy allows all; the VM sees which are missing */
export function grantedSubnets(asked: readonly string[], allowed: readonly string[]): string[] {
  if (asked.length === 0) return [];
  const blocks = allowed.map(parseSubnet);
  return asked.filter((each) => blocks.some((block) => covers(block, parseSubnet(each))));
}

/** What a credential says of the IPv4 address. */
type Leased = Pick<Credential, 'ipv4' | 'admittedBy' | 'lease'>;

/**
 * A member keeps the address that another super-peer has leased to it, while that one is named in the descriptor;
 * else it gets one of this super-peer's, which then counts as the one that admitted it.
 *
 * @param shown the credential that is renewed, which holds
 * @throws IcvpnError when there is no address to give
 */
export async function leaseFor(
  { self, key, leaseIpv4 }: Pick<ServerContext, 'self' | 'key' | 'leaseIpv4'>,
  service: ServedService,
  peerId: Ed25519PeerId,
  shown?: Opened<Credential>,
): Promise<Leased> {
  const { serviceId } = service.descriptor.value;
  if (shown !== undefined && !shown.value.admittedBy.equals(self)) {
    const { ipv4, admittedBy, lease } = shown.value;
    const named = admitterOf(service.descriptor.value, admittedBy) !== undefined;
    if (named && leaseHolds(shown.value)) return { ipv4, admittedBy, lease };
  }
  const own = shown?.value.admittedBy.equals(self) ? shown.value : undefined;
  const held = own && { ipv4: own.ipv4, since: heldSince(own) };
  const given = await leaseIpv4(service, peerId, held);
  const lease = signLease({ serviceId, peerId, ...given }, key);
  return { ipv4: given.ipv4, admittedBy: self, lease };
}

/** @param now seconds since 1970 */
export async function issueCredential(
  service: ServedService,
  bearer: Pick<Credential, 'peerId' | 'vmid' | 'roles' | 'vouched' | 'subnets'> & Leased,
  by: { key: PrivateKey; now: number },
): Promise<Opened<Credential>> {
  const { serviceId, epoch, credentialLifetime } = service.descriptor.value;
  const credential: Credential = {
    ...bearer,
    serviceId,
    ipv6: ipv6Address(serviceId, bearer.peerId),
    epoch,
    notBefore: by.now,
    notAfter: by.now + credentialLifetime,
    serial: randomBytes(16),
  };
  return open(CREDENTIAL, await seal(CREDENTIAL, credential, by.key));
}

/** @returns what is to be sealed and sent; to be overwritten by the caller */
export function encodeProvision(
  service: ServedService,
  credential: Opened<Credential>,
  renewalKey: Uint8Array,
  observedAddress: string,
): Uint8Array {
  const { peerId, serial, serviceId } = credential.value;
  const { renewalSecret, epochPsk } = service.secrets;
  return Provision.encode({
    credential: credential.bytes,
    descriptor: service.descriptor.bytes,
    epochPsk,
    renewalToken: sealRenewalState({ renewalKey, peerId, serial }, renewalSecret, serviceId),
    observedAddress,
  });
}
