/**
 * The VM's side of one admission, without input and output.
 *
 * ```
 *   hello() ──▶ Hello      challenge(Challenge) ──▶ Proof      grant(Grant) ──▶ Admission
 * ```
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import {
  CREDENTIAL,
  type Credential,
  CredentialError,
  checkCredential,
} from '../records/credential.ts';
import { admitterOf, openDescriptor, type ServiceDescriptor } from '../records/descriptor.ts';
import { type Opened, open } from '../records/envelope.ts';
import { ipv6Address } from '../records/virtual-address.ts';
import { AdmissionProtocolError, AdmissionRefusedError, ClockError } from './errors.ts';
import { isStrongEnough, stretch } from './kdf.ts';
import { AdmissionKeys } from './keys.ts';
import {
  type Challenge,
  type Grant,
  type Hello,
  NONCE_LENGTH,
  PROTOCOL_VERSION,
  type Proof,
  Provision,
  Request,
} from './messages.ts';
import { SERVICE_IDENTITY } from './sealed.ts';
import type { ParsedSecret } from './secret.ts';
import { EXPONENT_LENGTH, SrpEngine, type SrpSession, SrpValueError } from './srp/engine.ts';
import { SUITE_SRP_2048 } from './srp/group.ts';
import { keyModExp } from './srp/modexp.ts';

/** What a VM has once it is admitted. */
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

export interface ClientContext {
  /** This VM's PeerID, which Noise proves to the super-peer. */
  readonly self: Ed25519PeerId;
  /** As Noise proved it. */
  readonly superPeer: Ed25519PeerId;
  readonly serviceId: Ed25519PeerId;
  readonly secret: ParsedSecret;
  readonly request: Request;
  random(length: number): Uint8Array;
  /** Milliseconds since 1970. */
  clock(): number;
}

const SUITE = SUITE_SRP_2048;
const engine = new SrpEngine(SUITE, keyModExp(SUITE.group));

export class ClientSession {
  readonly #context: ClientContext;
  readonly #a: Uint8Array;
  readonly #hello: Hello;
  #proven: { keys: AdmissionKeys; srp: SrpSession } | undefined;

  constructor(context: ClientContext) {
    this.#context = context;
    this.#a = context.random(EXPONENT_LENGTH);
    this.#hello = {
      version: PROTOCOL_VERSION,
      suite: SUITE.id,
      serviceId: context.serviceId,
      identity: SERVICE_IDENTITY,
      nonce: context.random(NONCE_LENGTH),
      A: engine.clientPublic(this.#a),
    };
  }

  hello(): Hello {
    return this.#hello;
  }

  /** @throws AdmissionRefusedError, AdmissionProtocolError */
  async challenge(challenge: Challenge): Promise<Proof> {
    const { secret, self: vm, superPeer, request } = this.#context;
    const { salt, kdf, B } = challenge;
    if (kdf !== undefined && !isStrongEnough(kdf)) {
      throw new AdmissionProtocolError('the super-peer wants the secret stretched too little');
    }
    if (kdf === undefined && secret.kind === 'human') {
      throw new AdmissionRefusedError(
        'the service has no secret that a person chose',
        'check the service secret: one that icvpn made begins with "icvpn-secret-"',
      );
    }
    const login = { identity: this.#hello.identity, salt };
    const password = await stretch(secret, salt, kdf);
    const x = engine.x(login, password);
    password.fill(0);
    const hello = this.#hello;
    const srp = this.#compute(() => engine.clientSession(login, { a: this.#a, A: hello.A, x }, B));
    for (const each of [x, this.#a]) each.fill(0);
    const keys = new AdmissionKeys(srp.key, { vm, superPeer, hello, challenge });
    srp.key.fill(0);
    this.#proven = { keys, srp };
    const plain = Request.encode(request);
    return { M1: srp.M1, confirmation: keys.confirmation('vm'), request: keys.seal('vm', plain) };
  }

  /**
   * Takes nothing on trust: the super-peer proves that it knows the verifier and who it is, the
   * owner's signature names it, and the credential says what it must.
   *
   * @throws AdmissionProtocolError, ClockError, EnvelopeError
   */
  async grant(grant: Grant): Promise<Admission> {
    if (this.#proven === undefined) throw new AdmissionProtocolError('a grant before the proof');
    const { keys, srp } = this.#proven;
    const { superPeer, serviceId } = this.#context;
    if (!Buffer.from(srp.M2).equals(grant.M2) || !keys.confirms('super-peer', grant.confirmation)) {
      throw new AdmissionProtocolError('the super-peer does not prove that it serves the service');
    }
    const provision = this.#provision(keys, grant.provision);
    const descriptor = await openDescriptor(provision.descriptor);
    if (!descriptor.value.serviceId.equals(serviceId)) {
      throw new AdmissionProtocolError('the super-peer gave the descriptor of another service');
    }
    if (admitterOf(descriptor.value, superPeer) === undefined) {
      throw new AdmissionProtocolError(`the service does not let ${superPeer} admit its members`);
    }
    const credential = await open(CREDENTIAL, provision.credential);
    this.#check(credential, descriptor.value);
    const { epochPsk, observedAddress, renewalToken } = provision;
    const renewalKey = Buffer.concat([keys.renewalKey(), renewalToken]);
    return { credential, descriptor, epochPsk, renewalKey, observedAddress };
  }

  /** Overwrites what is secret. Call it when the session is over, however it ended. */
  wipe(): void {
    this.#proven?.keys.wipe();
    this.#a.fill(0);
    this.#context.secret.bytes.fill(0);
  }

  #compute(run: () => SrpSession): SrpSession {
    try {
      return run();
    } catch (cause) {
      if (!(cause instanceof SrpValueError)) throw cause;
      throw new AdmissionProtocolError(`the super-peer sent a bad value: ${cause.message}`, {
        cause,
      });
    }
  }

  #provision(keys: AdmissionKeys, sealed: Uint8Array): Provision {
    try {
      return Provision.decode(keys.unseal('super-peer', sealed));
    } catch (cause) {
      throw new AdmissionProtocolError('what the super-peer gave cannot be read', { cause });
    }
  }

  #check(credential: Opened<Credential>, descriptor: ServiceDescriptor): void {
    const { self, superPeer, serviceId, request, clock } = this.#context;
    const { value, signer } = credential;
    try {
      checkCredential(credential, {
        serviceId,
        bearer: self,
        epoch: descriptor.epoch,
        admitters: [superPeer],
        now: Math.floor(clock() / 1000),
      });
    } catch (cause) {
      if (!(cause instanceof CredentialError)) throw cause;
      if (cause.fault === 'early' || cause.fault === 'expired') {
        throw new ClockError(`the clocks of this machine and ${signer} differ: ${cause.message}`, {
          cause,
        });
      }
      throw new AdmissionProtocolError(cause.message, { cause });
    }
    if (value.vmid !== request.vmid || value.ipv6 !== ipv6Address(serviceId, self)) {
      throw new AdmissionProtocolError('the credential is not what was asked for');
    }
  }
}
