/** What a super-peer gives to who proved itself: a credential, and what goes with it. */
import { randomBytes } from 'node:crypto';
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { covers, parseSubnet } from '../policy/subnet.ts';
import { CREDENTIAL, type Credential } from '../records/credential.ts';
import { admitterOf, type ServiceDescriptor } from '../records/descriptor.ts';
import { type Opened, open, seal } from '../records/envelope.ts';
import { ipv6Address } from '../records/virtual-address.ts';
import { Provision } from './messages.ts';
import { sealRenewalState } from './renewal-token.ts';
import type { AdmissionSecrets } from './sealed.ts';

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
  readonly multiaddrs: string[];
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

/** @param now seconds since 1970 */
export async function issueCredential(
  service: ServedService,
  bearer: Pick<Credential, 'peerId' | 'vmid' | 'roles' | 'ipv4' | 'admittedBy' | 'subnets'>,
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
