/**
 * The service descriptor: what a service is, signed by its owner.
 *
 * The ServiceID is the owner's public key, so anybody who knows the ServiceID can check the
 * descriptor. The universal overlay has one too: it is the service whose members are super-peers.
 */
import { hkdfSync } from 'node:crypto';
import type { Ed25519PeerId } from '@libp2p/interface';
import { equals } from 'uint8arrays/equals';
import { formatPrefix, type Prefix, parsePrefix } from '../codec/ip.ts';
import { ownMultiaddrs } from '../codec/multiaddr.ts';
import {
  bytes,
  type Codec,
  type Infer,
  message,
  optional,
  refine,
  repeated,
  required,
  string,
  uint32,
  uint53,
} from '../codec/protobuf.ts';
import { parseName, plainText } from '../codec/text.ts';
import { addressRange, overlapping } from './address-range.ts';
import { EnvelopeError, type Opened, open, type RecordKind } from './envelope.ts';
import { peerId } from './peer-id.ts';

/** The most super-peers that one service names. */
export const MAX_ADMITTERS = 64;
/** The most ranges that are kept of super-peers that were struck off. */
export const MAX_RETIRED = 256;
/** Bytes of an attribute authority's public key; icvpn/abe writes 3,282. */
const MAX_ATTRIBUTE_PUBLIC_KEY = 4096;
const EPOCH_ID_LENGTH = 32;

const MAX_NAME_BYTES = 63;

/** @throws TextError */
export const parseServiceName = (text: string): string =>
  parseName(text, 'the name of a service', MAX_NAME_BYTES);

const prefix = (): Codec<Prefix> =>
  refine(string({ max: 64 }), { parse: parsePrefix, format: formatPrefix });

const admitter = message({
  peerId: required(1, peerId()),
  multiaddrs: ownMultiaddrs(2),
  /** The part of the service's IPv4 prefix that this super-peer gives addresses from. */
  range: required(3, addressRange()),
  /** The service's admission secrets, encrypted by the owner to this super-peer alone. */
  sealedSecrets: required(4, bytes({ max: 4096 })),
});

/** A super-peer that the owner lets admit members. */
export type Admitter = Infer<typeof admitter>;

const retired = message({
  peerId: required(1, peerId()),
  range: required(2, addressRange()),
  /** From when the range may be another super-peer's, in seconds since 1970. */
  until: required(3, uint53()),
});

/** The range of a super-peer that was struck off: members may have addresses of it for a while. */
export type RetiredRange = Infer<typeof retired>;

const codec = message({
  serviceId: required(1, peerId()),
  /** For people; it proves nothing. */
  name: required(2, plainText({ min: 1, max: MAX_NAME_BYTES })),
  /** Newer descriptors have larger ones. */
  sequence: required(3, uint53()),
  /** Raised when every member must get new credentials and keys. */
  epoch: required(4, uint32()),
  ipv4Prefix: required(5, prefix()),
  /** How long a credential lasts, in seconds. */
  credentialLifetime: required(6, uint32()),
  admitters: repeated(7, admitter, { max: MAX_ADMITTERS }),
  /** Public key of the service's attribute authority; lists of members go in clear without one. */
  attributePublicKey: optional(8, bytes({ max: MAX_ATTRIBUTE_PUBLIC_KEY })),
  /** Commits to the secrets of the epoch: two descriptors of one epoch have the same one (`epochIdOf`). */
  epochId: optional(9, bytes({ length: EPOCH_ID_LENGTH })),
  retired: repeated(10, retired, { max: MAX_RETIRED }),
});

export type ServiceDescriptor = Infer<typeof codec>;

export const DESCRIPTOR: RecordKind<ServiceDescriptor> = {
  name: 'descriptor',
  codec,
  maxLength: 512 * 1024,
};

/** Opens a descriptor and checks that the service's own key signed it. @throws EnvelopeError */
export async function openDescriptor(raw: Uint8Array): Promise<Opened<ServiceDescriptor>> {
  const opened = await open(DESCRIPTOR, raw);
  if (!opened.signer.equals(opened.value.serviceId)) {
    throw new EnvelopeError(DESCRIPTOR.name, 'it is not signed by the key that the ServiceID is');
  }
  checkRanges(opened.value);
  return opened;
}

/**
 * HKDF-SHA256 (RFC 5869) of a random secret: who has not got the PSK learns nothing about it.
 *
 * @param epochPsk 32 random bytes, which the members of the epoch share
 * @returns 32 bytes that stand for the epoch's secrets in its descriptors
 */
export function epochIdOf(serviceId: Ed25519PeerId, epochPsk: Uint8Array): Uint8Array {
  const salt = serviceId.toMultihash().bytes;
  return new Uint8Array(hkdfSync('sha256', epochPsk, salt, 'icvpn epoch id 1', EPOCH_ID_LENGTH));
}

/** Where a version stands in the order of a service's descriptors. */
export type Version = Pick<ServiceDescriptor, 'epoch' | 'sequence'>;

/**
 * The epoch goes before the sequence, so that none of an epoch that is over comes back, whatever its sequence.
 *
 * @returns above 0 when `a` is the newer one, 0 when they are of one epoch and sequence
 */
export function compareVersions(a: Version, b: Version): number {
  return a.epoch - b.epoch || a.sequence - b.sequence;
}

/** @returns whether two descriptors that say the same epoch mean the same one, with the same secrets */
export function isSameEpoch(a: ServiceDescriptor, b: ServiceDescriptor): boolean {
  return same(a.epochId, b.epochId) && same(a.attributePublicKey, b.attributePublicKey);
}

const same = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a === undefined || b === undefined ? a === b : equals(a, b);

/** @throws EnvelopeError when a super-peer or a part of the IPv4 prefix appears twice */
function checkRanges({ admitters, retired: old }: ServiceDescriptor): void {
  const holders = [...admitters, ...old];
  if (new Set(holders.map(({ peerId: id }) => id.toString())).size !== holders.length) {
    throw new EnvelopeError(DESCRIPTOR.name, 'a super-peer appears twice');
  }
  const ranges = holders.map(({ range }) => range).sort((a, b) => a.first - b.first);
  for (const [i, range] of ranges.entries()) {
    const next = ranges[i + 1];
    if (next === undefined || !overlapping(range, next)) continue;
    throw new EnvelopeError(DESCRIPTOR.name, 'two super-peers have one range of addresses');
  }
}

/** @returns the entry of `id`, if the owner lets it admit */
export function admitterOf(service: ServiceDescriptor, id: Ed25519PeerId): Admitter | undefined {
  return service.admitters.find((each) => each.peerId.equals(id));
}
