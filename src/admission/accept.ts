/** What a VM is given, and the checks that it makes of it: nothing is taken on trust. */
import type { Ed25519PeerId } from '@libp2p/interface';
import { AddressPlan } from '../records/address-plan.ts';
import {
  CLOCK_SKEW_SECONDS,
  CREDENTIAL,
  type Credential,
  CredentialError,
  checkCredential,
} from '../records/credential.ts';
import { admitterOf, openDescriptor, type ServiceDescriptor } from '../records/descriptor.ts';
import { type Opened, open } from '../records/envelope.ts';
import { AdmissionProtocolError, ClockError } from './errors.ts';
import type { RunKeys } from './keys.ts';
import { Provision } from './messages.ts';

/** What a VM has once it is admitted or renewed. */
export interface Admission {
  readonly credential: Opened<Credential>;
  readonly descriptor: Opened<ServiceDescriptor>;
  /** 32 bytes, secret: mixed into pairwise keys of this epoch. */
  readonly epochPsk: Uint8Array;
  /** Secret and opaque: what the next renewal needs. A renewal gives a new one; keep only that. */
  readonly renewalKey: Uint8Array;
  /** This VM's IP address as the super-peer sees it; empty when unknown. */
  readonly observedAddress: string;
}

/** What the VM expects. */
export interface Accepting {
  /** This VM's PeerID, which Noise proves to the super-peer. */
  readonly self: Ed25519PeerId;
  /** As Noise proved it. */
  readonly superPeer: Ed25519PeerId;
  readonly serviceId: Ed25519PeerId;
  readonly vmid: string;
  /** Milliseconds since 1970. */
  clock(): number;
}

/**
 * @param keys of a run whose confirmation by the super-peer holds
 * @throws AdmissionProtocolError, ClockError, EnvelopeError
 */
export async function acceptProvision(
  keys: RunKeys,
  sealed: Uint8Array,
  expected: Accepting,
): Promise<Admission> {
  const { serviceId, superPeer } = expected;
  const { epochPsk, observedAddress, renewalToken, ...signed } = unseal(keys, sealed);
  const descriptor = await openDescriptor(signed.descriptor);
  if (!descriptor.value.serviceId.equals(serviceId)) {
    throw new AdmissionProtocolError('the super-peer gave the descriptor of another service');
  }
  if (admitterOf(descriptor.value, superPeer) === undefined) {
    throw new AdmissionProtocolError(`the service does not let ${superPeer} admit its members`);
  }
  const credential = await open(CREDENTIAL, signed.credential);
  check(credential, descriptor.value, expected);
  const next = keys.renewalKey();
  const renewalKey = Uint8Array.from([...next, ...renewalToken]);
  next.fill(0);
  return { credential, descriptor, epochPsk, renewalKey, observedAddress };
}

function unseal(keys: RunKeys, sealed: Uint8Array): Provision {
  try {
    return Provision.decode(keys.unseal('super-peer', sealed));
  } catch (cause) {
    throw new AdmissionProtocolError('what the super-peer gave cannot be read', { cause });
  }
}

function check(
  credential: Opened<Credential>,
  descriptor: ServiceDescriptor,
  { self, superPeer, serviceId, vmid, clock }: Accepting,
): void {
  const { value } = credential;
  const now = Math.floor(clock() / 1000);
  // A credential begins at the moment at which its super-peer signs it.
  const ahead = now - value.notBefore;
  if (Math.abs(ahead) > CLOCK_SKEW_SECONDS) throw new ClockError(ahead, superPeer);
  try {
    checkCredential(credential, {
      ...{ serviceId, now, bearer: self },
      epoch: descriptor.epoch,
      admitters: [superPeer],
      addresses: new AddressPlan(descriptor),
    });
  } catch (cause) {
    if (!(cause instanceof CredentialError)) throw cause;
    throw new AdmissionProtocolError(cause.message, { cause });
  }
  if (value.vmid !== vmid) {
    throw new AdmissionProtocolError('the credential is not what was asked for');
  }
}
