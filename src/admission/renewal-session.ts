/**
 * Both sides of a renewal, without input and output.
 *
 * The member shows its credential and proves three things: its node key (Noise did), the renewal key
 * that it was given with that credential (confirmation), and that a super-peer of the service gave
 * it (token). It gets a new credential and, from the same run, the next renewal key. A node key alone
 * renews nothing; a copy of the whole state does, until the node is revoked.
 *
 * No SRP, no state at the super-peer: any super-peer that the descriptor names can do it.
 *
 * A credential that has ended is renewed too, for {@link WAY_BACK_SECONDS}: a VM that was suspended or cut
 * off for longer than its credential comes back so. Its address may have gone to another member meanwhile;
 * the super-peer gives it one as at an admission, and counts as the one that admitted it.
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { IcvpnError } from '../errors.ts';
import { AddressPlan } from '../records/address-plan.ts';
import { WHOLE_PREFIX } from '../records/address-range.ts';
import {
  CLOCK_SKEW_SECONDS,
  CREDENTIAL,
  type Credential,
  CredentialError,
  checkCredential,
  WAY_BACK_SECONDS,
} from '../records/credential.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import { EnvelopeError, type Opened, open } from '../records/envelope.ts';
import { type Accepting, type Admission, acceptProvision } from './accept.ts';
import { AdmissionProtocolError, RevokedError } from './errors.ts';
import {
  admittedBy,
  encodeProvision,
  grantedSubnets,
  issueCredential,
  leaseFor,
  type ServedService,
} from './issue.ts';
import { type Ends, RunKeys, renewalAnswerTranscript, renewalTranscript } from './keys.ts';
import {
  NONCE_LENGTH,
  PROTOCOL_VERSION,
  type Renew,
  type Renewal,
  RenewalRequest,
  UNSUPPORTED,
} from './messages.ts';
import { openRenewalState, RENEWAL_KEY_LENGTH } from './renewal-token.ts';
import type { Remote, ServerContext } from './server-session.ts';
import { refuse, refuseProven, reply, type Verdict } from './verdict.ts';

/** The super-peer's side. */
export async function renew(
  context: ServerContext,
  remote: Remote,
  message: Renew,
): Promise<Verdict> {
  const { hello } = message;
  if (hello.version !== PROTOCOL_VERSION) {
    const refusal = { reason: UNSUPPORTED, text: `version ${PROTOCOL_VERSION}` };
    return { ...refuse('unsupported version', { guess: false }), reply: reply({ refusal }) };
  }
  const { self, clock } = context;
  const now = Math.floor(clock() / 1000);
  const shown = await readCredential(hello.credential);
  if (shown === undefined) return refuse('damaged credential', { guess: false });
  const { serviceId, vmid, serial } = shown.value;
  const refusal = (cause: string) =>
    refuse(cause, { guess: false, serviceId: serviceId.toString() });
  const service = admittedBy(context.services(serviceId.toString()), self);
  if (service === undefined) return refusal('unknown service');
  const isStranded = context.isStranded(service, shown);
  const fault = faultOf(shown, service, { bearer: remote.peerId, now, isStranded });
  if (fault !== undefined) return refusal(`credential: ${fault}`);
  const state = openRenewalState(hello.token, service.secrets.renewalSecret, serviceId);
  if (!state?.peerId.equals(remote.peerId) || !Buffer.from(state.serial).equals(serial)) {
    return refusal('the renewal token is not of this credential');
  }
  const question = renewalTranscript({ vm: remote.peerId, superPeer: self, hello });
  const asked = new RunKeys(state.renewalKey, question);
  const nonce = context.random(NONCE_LENGTH);
  const answer = new RunKeys(state.renewalKey, renewalAnswerTranscript(question, nonce));
  state.renewalKey.fill(0);
  try {
    if (!asked.confirms('vm', message.confirmation)) {
      return refusal('wrong confirmation');
    }
    const request = RenewalRequest.decode(asked.unseal('vm', message.request));
    return await grant(context, { service, shown, remote, answer, nonce, request, now });
  } catch (error) {
    if (!(error instanceof IcvpnError)) throw error;
    return refuseProven(error, { vmid, ticket: undefined, serviceId: serviceId.toString() });
  } finally {
    asked.wipe();
    answer.wipe();
  }
}

async function grant(
  context: ServerContext,
  run: {
    service: ServedService;
    shown: Opened<Credential>;
    remote: Remote;
    answer: RunKeys;
    nonce: Uint8Array;
    request: RenewalRequest;
    now: number;
  },
): Promise<Verdict> {
  const { service, shown, answer, nonce, request, now } = run;
  const { peerId, address: remoteAddress } = run.remote;
  const { key, allowedSubnets, barred, revoked } = context;
  const { vmid, roles, vouched, notAfter } = shown.value;
  const ended = now >= notAfter + CLOCK_SKEW_SECONDS;
  if (revoked(service, shown) || (ended && barred(service, peerId))) {
    throw new RevokedError();
  }
  const leased = await leaseFor(context, service, peerId, ended ? undefined : shown);
  const named = { peerId, vmid, roles, vouched };
  const subnets = grantedSubnets(request.subnets, allowedSubnets(service, named));
  const bearer = { ...named, subnets, ...leased };
  const credential = await issueCredential(service, bearer, { key, now });
  const renewalKey = answer.renewalKey();
  const provision = encodeProvision(service, credential, renewalKey, remoteAddress);
  const renewal = {
    nonce,
    confirmation: answer.confirmation('super-peer'),
    provision: answer.seal('super-peer', provision),
  };
  for (const each of [renewalKey, provision]) each.fill(0);
  const { multiaddrs } = request;
  const applicant = { peerId, vmid, roles, multiaddrs, remoteAddress };
  return {
    ...{ outcome: 'renewed', service, applicant, credential, ticket: undefined },
    reply: reply({ renewal }),
  };
}

async function readCredential(raw: Uint8Array): Promise<Opened<Credential> | undefined> {
  try {
    return await open(CREDENTIAL, raw);
  } catch (error) {
    if (error instanceof EnvelopeError) return undefined;
    throw error;
  }
}

/**
 * @param run.isStranded whether it is from before the super-peer that signed it was struck off
 * @returns what is wrong with a credential, borne by `bearer`, for being renewed
 */
function faultOf(
  shown: Opened<Credential>,
  { descriptor }: ServedService,
  { bearer, now, isStranded }: { bearer: Ed25519PeerId; now: number; isStranded: boolean },
): string | undefined {
  const { serviceId, epoch } = descriptor.value;
  const admitters = descriptor.value.admitters.map(({ peerId }) => peerId);
  // The service may have moved on to a new epoch: renewal is how its members follow.
  const shownEpoch = Math.min(shown.value.epoch, epoch);
  const within = now < shown.value.notAfter + WAY_BACK_SECONDS;
  const at = within ? Math.min(now, shown.value.notAfter) : now;
  try {
    checkCredential(shown, {
      ...{ serviceId, bearer, now: at, epoch: shownEpoch },
      admitters: isStranded ? [...admitters, shown.signer] : admitters,
      addresses: addressesAt(descriptor.value, shown.value.admittedBy),
    });
    return undefined;
  } catch (error) {
    if (error instanceof CredentialError) return error.fault;
    throw error;
  }
}

/**
 * A member finds its way back also when the super-peer that admitted it is forgotten: it gets another address here.
 *
 * @returns what the addresses in a credential must be for being renewed
 */
function addressesAt(service: ServiceDescriptor, admittedBy: Ed25519PeerId): AddressPlan {
  const isKnown = [...service.admitters, ...service.retired].some(({ peerId }) =>
    peerId.equals(admittedBy),
  );
  const forgotten = isKnown ? [] : [{ peerId: admittedBy, range: WHOLE_PREFIX }];
  return new AddressPlan({ ...service, retired: [...service.retired, ...forgotten] });
}

/** The member's side. */
export class RenewalSession {
  readonly #ends: Ends;
  readonly #accepting: Accepting;
  readonly #question: Uint8Array;
  readonly #key: Uint8Array;
  readonly #opening: Renew;

  /** @param state the `renewalKey` of the admission or renewal before */
  constructor(
    accepting: Accepting,
    own: {
      credential: Opened<Credential>;
      state: Uint8Array;
      request: RenewalRequest;
      nonce: Uint8Array;
    },
  ) {
    this.#accepting = accepting;
    this.#ends = { vm: accepting.self, superPeer: accepting.superPeer };
    this.#key = Uint8Array.from(own.state.subarray(0, RENEWAL_KEY_LENGTH));
    const hello = {
      version: PROTOCOL_VERSION,
      credential: own.credential.bytes,
      token: own.state.subarray(RENEWAL_KEY_LENGTH),
      nonce: own.nonce,
    };
    this.#question = renewalTranscript({ ...this.#ends, hello });
    const keys = new RunKeys(this.#key, this.#question);
    const request = keys.seal('vm', RenewalRequest.encode(own.request));
    this.#opening = { hello, confirmation: keys.confirmation('vm'), request };
    keys.wipe();
  }

  opening(): Renew {
    return this.#opening;
  }

  /** @throws AdmissionProtocolError, ClockError, EnvelopeError */
  async renewal(renewal: Renewal): Promise<Admission> {
    const keys = new RunKeys(this.#key, renewalAnswerTranscript(this.#question, renewal.nonce));
    try {
      if (!keys.confirms('super-peer', renewal.confirmation)) {
        throw new AdmissionProtocolError(
          'the super-peer does not prove that it serves the service',
        );
      }
      return await acceptProvision(keys, renewal.provision, this.#accepting);
    } finally {
      keys.wipe();
    }
  }

  /** Overwrites what is secret. */
  wipe(): void {
    this.#key.fill(0);
  }
}
