/**
 * A credential: a super-peer's word that a PeerID is a member of a service until a given time.
 *
 * Signed by the super-peer that admitted the member. It is worth as much as the service descriptor
 * says: `checkCredential` takes only signers that the descriptor names as admitting.
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { cidr, ipv4, ipv6 } from '../codec/ip.ts';
import {
  bytes,
  type Infer,
  message,
  optional,
  refine,
  repeated,
  required,
  uint32,
  uint53,
} from '../codec/protobuf.ts';
import { parseName, plainText } from '../codec/text.ts';
import { IcvpnError } from '../errors.ts';
import type { Vouched } from '../policy/selector.ts';
import type { AddressPlan } from './address-plan.ts';
import type { Opened, RecordKind } from './envelope.ts';
import { LEASE } from './lease.ts';
import { peerId } from './peer-id.ts';

/** How far two clocks may be apart, in seconds, before times are taken as wrong. */
export const CLOCK_SKEW_SECONDS = 120;

/**
 * Seconds after its end for which a credential, with the renewal key that came with it, still brings its
 * bearer back: 90 days. Revocations must be kept for as long.
 */
export const WAY_BACK_SECONDS = 90 * 24 * 3600;

/** The most subnets that one member announces. */
export const MAX_SUBNETS = 16;

/** The most roles of one member. */
export const MAX_ROLES = 16;
const MAX_VMID_BYTES = 128;
const MAX_ROLE_BYTES = 64;
/** Codec of an instance's name. */
export const vmid = () => plainText({ min: 1, max: MAX_VMID_BYTES });
/** Field of a member's roles. */
export const roles = (number: number) =>
  repeated(number, plainText({ min: 1, max: MAX_ROLE_BYTES }), { max: MAX_ROLES });

/** @throws TextError */
export const parseVmid = (text: string): string => parseName(text, 'a VMID', MAX_VMID_BYTES);
/** @throws TextError */
export const parseRole = (text: string): string => parseName(text, 'a role', MAX_ROLE_BYTES);

const VOUCHED: readonly (Vouched | undefined)[] = [undefined, 'roles', 'vmid-and-roles'];

/** Written as 1 or 2. */
const vouched = () =>
  refine(uint32(), {
    parse: (code): Vouched => {
      const found = VOUCHED[code];
      if (found === undefined) throw new RangeError(`${code} is not known`);
      return found;
    },
    format: (value) => VOUCHED.indexOf(value),
  });

const codec = message({
  serviceId: required(1, peerId()),
  peerId: required(2, peerId()),
  /** The instance, as its cloud or its owner names it. */
  vmid: required(3, vmid()),
  roles: roles(4),
  ipv6: required(5, ipv6()),
  ipv4: required(6, ipv4()),
  epoch: required(7, uint32()),
  /** Seconds since 1970, inclusive. */
  notBefore: required(8, uint53()),
  /** Seconds since 1970, exclusive. */
  notAfter: required(9, uint53()),
  serial: required(10, bytes({ length: 16 })),
  /** The super-peer that ran the admission, whoever renewed since: its revocations count. */
  admittedBy: required(11, peerId()),
  /** CIDRs behind the member, as far as the owner's policy let it announce them when this was issued. */
  subnets: repeated(12, cidr(), { max: MAX_SUBNETS }),
  /** That `admittedBy` gave the IPv4 address; absent in credentials of older super-peers. */
  lease: optional(13, LEASE),
  /** What the service's owner said of the member by the ticket that it was admitted with. */
  vouched: optional(14, vouched()),
});

export type Credential = Infer<typeof codec>;

export const CREDENTIAL: RecordKind<Credential> = { name: 'credential', codec, maxLength: 4096 };

export type CredentialFault =
  | 'service'
  | 'signer'
  | 'peer'
  | 'address'
  | 'epoch'
  | 'early'
  | 'expired';

export class CredentialError extends IcvpnError {
  readonly fault: CredentialFault;

  constructor(fault: CredentialFault, message: string) {
    super('ERR_CREDENTIAL', message, 'the member must renew its credential at a super-peer');
    this.fault = fault;
  }
}

/** An epoch that is over, and whose credentials hold for a while all the same, as do those of later ones. */
export interface EpochGrace {
  readonly epoch: number;
  /** Seconds since 1970, exclusive. */
  readonly until: number;
}

/** What a credential is held against. */
export interface CredentialContext {
  readonly serviceId: Ed25519PeerId;
  /** Who the connection or signature proved the bearer to be. */
  readonly bearer: Ed25519PeerId;
  readonly epoch: number;
  /** Epochs that are over and whose credentials hold too; none when left out. */
  readonly grace?: readonly EpochGrace[] | undefined;
  readonly admitters: readonly Ed25519PeerId[];
  /** Of the newest descriptor: which addresses its members may have. */
  readonly addresses: AddressPlan;
  /** Seconds since 1970. */
  readonly now: number;
}

/** Since when a member has its IPv4 address, in seconds since 1970: of two with one address the older claim stands. */
export function heldSince({ lease, notBefore }: Credential): number {
  return lease?.since ?? notBefore;
}

/** Members move into a new epoch one after the other, and must not lose each other meanwhile. */
function isOfEpoch(epoch: number, context: CredentialContext): boolean {
  const { grace = [], now } = context;
  if (epoch >= context.epoch) return epoch === context.epoch;
  return grace.some((each) => each.epoch <= epoch && now < each.until);
}

/**
 * Whether a node must renew its credential though its time has not come: it is of another epoch than the service,
 * or the super-peer that signed it is named no more.
 */
export function isBehind(
  { value, signer }: Opened<Credential>,
  { epoch, admitters }: Pick<CredentialContext, 'epoch' | 'admitters'>,
): boolean {
  return value.epoch !== epoch || !admitters.some((id) => id.equals(signer));
}

/** @throws CredentialError saying which of its claims does not hold */
export function checkCredential(opened: Opened<Credential>, context: CredentialContext): void {
  const { value, signer } = opened;
  const wrong = (fault: CredentialFault, message: string): never => {
    throw new CredentialError(fault, `credential of ${value.peerId}: ${message}`);
  };
  if (!value.serviceId.equals(context.serviceId)) wrong('service', 'it is for another service');
  if (!context.admitters.some((id) => id.equals(signer))) {
    wrong('signer', `${signer} may not admit members to this service`);
  }
  if (!value.peerId.equals(context.bearer)) wrong('peer', `shown by ${context.bearer}`);
  const misplaced = context.addresses.fault(opened);
  if (misplaced !== undefined) wrong('address', misplaced);
  if (!isOfEpoch(value.epoch, context)) {
    wrong('epoch', `it is of epoch ${value.epoch}, the service is in ${context.epoch}`);
  }
  if (context.now < value.notBefore - CLOCK_SKEW_SECONDS) wrong('early', 'it is not valid yet');
  if (context.now >= value.notAfter + CLOCK_SKEW_SECONDS) wrong('expired', 'it has expired');
}
