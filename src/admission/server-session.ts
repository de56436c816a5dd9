/**
 * The super-peer's side of one admission, without input and output.
 *
 * ```
 *   waiting ──hello──▶ challenged ──proof──▶ done: admitted or refused
 * ```
 *
 * Nothing is done for the VM, and nothing it says beyond SRP's values is looked at, before its
 * confirmation holds. Everything up to there runs the same for a service that does not exist.
 */
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { DecodeError } from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import type { Decoys, SrpRecord } from './decoy.ts';
import { AdmissionProtocolError } from './errors.ts';
import { type Applicant, admittedBy, issueCredential, type ServedService } from './issue.ts';
import { AdmissionKeys } from './keys.ts';
import {
  type Challenge,
  type Hello,
  NONCE_LENGTH,
  PROTOCOL_VERSION,
  type Proof,
  Provision,
  REFUSED,
  type Refusal,
  type Reply,
  Request,
  UNAVAILABLE,
  UNSUPPORTED,
} from './messages.ts';
import { sealRenewalState } from './renewal-token.ts';
import { EXPONENT_LENGTH } from './srp/engine.ts';
import { suiteById } from './srp/group.ts';
import type { SrpPool } from './srp/pool.ts';

/** What all sessions of a super-peer have in common. */
export interface ServerContext {
  readonly key: PrivateKey;
  readonly self: Ed25519PeerId;
  readonly srp: Pick<SrpPool, 'start' | 'finish'>;
  readonly decoys: Decoys;
  services(serviceId: string): ServedService | undefined;
  assignIpv4(service: ServedService, peerId: Ed25519PeerId): string;
  random(length: number): Uint8Array;
  /** Milliseconds since 1970. */
  clock(): number;
}

/** The other end, as the connection proves it. */
export interface Remote {
  readonly peerId: Ed25519PeerId;
  /** IP address, or empty. */
  readonly address: string;
}

/** Why somebody was refused: for the operator, never for the remote. */
export type RefusalCause =
  | 'unknown service'
  | 'unknown identity'
  | 'wrong secret'
  | 'wrong confirmation'
  | 'unsupported'
  | 'unavailable';

export interface Admitted {
  readonly outcome: 'admitted';
  readonly service: ServedService;
  readonly applicant: Applicant;
  readonly credential: Opened<Credential>;
  readonly reply: Reply;
}

export interface Refused {
  readonly outcome: 'refused';
  readonly cause: RefusalCause;
  readonly reply: Reply;
}

interface Challenged {
  readonly hello: Hello;
  readonly challenge: Challenge;
  readonly record: SrpRecord;
  readonly b: Uint8Array;
  readonly missing: 'unknown service' | 'unknown identity' | undefined;
}

const NO_REPLY: Reply = {
  challenge: undefined,
  grant: undefined,
  refusal: undefined,
  busy: undefined,
};

export function refusalReply(reason: Refusal['reason'], text: string): Reply {
  return { ...NO_REPLY, refusal: { reason, text } };
}

/** @param seconds after which to try again */
export function busyReply(seconds: number): Reply {
  return { ...NO_REPLY, busy: seconds };
}

export class ServerSession {
  readonly #context: ServerContext;
  readonly #remote: Remote;
  #state: Challenged | undefined;

  constructor(context: ServerContext, remote: Remote) {
    this.#context = context;
    this.#remote = remote;
  }

  /** @returns the challenge to send, or a refusal when the two ends speak different versions */
  async hello(hello: Hello): Promise<Reply | Refused> {
    const { srp, random, self, services, decoys } = this.#context;
    if (hello.version !== PROTOCOL_VERSION || suiteById(hello.suite) === undefined) {
      const text = `version ${PROTOCOL_VERSION}, suite 1`;
      return {
        outcome: 'refused',
        cause: 'unsupported',
        reply: refusalReply(UNSUPPORTED, text),
      };
    }
    const decoy = decoys.of(hello.serviceId, hello.identity);
    const secrets = admittedBy(services(hello.serviceId.toString()), self)?.secrets;
    const known = secrets?.identity === hello.identity && secrets.suite === hello.suite;
    const record = secrets !== undefined && known ? secrets : decoy;
    const missing = known ? undefined : secrets ? 'unknown identity' : 'unknown service';
    const b = random(EXPONENT_LENGTH);
    const B = await srp.start({ suite: hello.suite, verifier: record.verifier, b });
    const { salt, kdf } = record;
    const challenge: Challenge = { nonce: random(NONCE_LENGTH), salt, kdf, B };
    this.#state = { hello, challenge, record, b, missing };
    return { ...NO_REPLY, challenge };
  }

  /** @throws AdmissionProtocolError when there was no challenge, or a second proof for one */
  async proof(proof: Proof): Promise<Admitted | Refused> {
    const state = this.#state;
    if (state === undefined) throw new AdmissionProtocolError('a proof without a challenge');
    this.#state = undefined;
    const { hello, challenge, record, b, missing } = state;
    const { identity, A, suite } = hello;
    const { salt, B } = challenge;
    const login = { identity, salt };
    const session = await this.#context.srp.finish({
      ...{ suite, login, verifier: record.verifier },
      ...{ b, B, A, M1: proof.M1 },
    });
    b.fill(0);
    // A decoy's verifier belongs to no password, so that M1 holds for it with probability 2^-256.
    if (missing !== undefined || session === undefined) {
      session?.key.fill(0);
      return refuse(missing ?? 'wrong secret');
    }
    const keys = new AdmissionKeys(session.key, {
      vm: this.#remote.peerId,
      superPeer: this.#context.self,
      hello,
      challenge,
    });
    session.key.fill(0);
    try {
      if (!keys.confirms('vm', proof.confirmation)) return refuse('wrong confirmation');
      return await this.#admit(hello, readRequest(keys, proof.request), keys, session.M2);
    } finally {
      keys.wipe();
    }
  }

  /** Forgets what it knows; for sessions that end before their proof. */
  wipe(): void {
    this.#state?.b.fill(0);
    this.#state = undefined;
  }

  async #admit(
    hello: Hello,
    request: Request,
    keys: AdmissionKeys,
    M2: Uint8Array,
  ): Promise<Admitted | Refused> {
    const { services, self, key, clock, assignIpv4 } = this.#context;
    // Asked for again: the owner may have taken this super-peer out since the challenge.
    const service = admittedBy(services(hello.serviceId.toString()), self);
    if (service === undefined) return refuse('unknown service');
    const { peerId, address: remoteAddress } = this.#remote;
    const applicant: Applicant = { ...request, peerId, remoteAddress };
    let ipv4: string;
    try {
      ipv4 = assignIpv4(service, peerId);
    } catch (error) {
      if (!(error instanceof IcvpnError)) throw error;
      return {
        outcome: 'refused',
        cause: 'unavailable',
        reply: refusalReply(UNAVAILABLE, error.message.slice(0, 200)),
      };
    }
    const { vmid, roles } = applicant;
    const now = Math.floor(clock() / 1000);
    const credential = await issueCredential(service, { peerId, vmid, roles, ipv4 }, { key, now });
    const renewalKey = keys.renewalKey();
    const { serial } = credential.value;
    const { renewalSecret, epochPsk } = service.secrets;
    const provision = Provision.encode({
      credential: credential.bytes,
      descriptor: service.descriptor.bytes,
      epochPsk,
      renewalToken: sealRenewalState(
        { renewalKey, peerId, serial },
        renewalSecret,
        hello.serviceId,
      ),
      observedAddress: remoteAddress,
    });
    const grant = {
      M2,
      confirmation: keys.confirmation('super-peer'),
      provision: keys.seal('super-peer', provision),
    };
    for (const each of [renewalKey, provision]) each.fill(0);
    return { outcome: 'admitted', service, applicant, credential, reply: { ...NO_REPLY, grant } };
  }
}

function readRequest(keys: AdmissionKeys, sealed: Uint8Array): Request {
  try {
    return Request.decode(keys.unseal('vm', sealed));
  } catch (cause) {
    if (cause instanceof DecodeError) throw cause;
    throw new AdmissionProtocolError('the request cannot be unsealed', { cause });
  }
}

function refuse(cause: RefusalCause): Refused {
  return { outcome: 'refused', cause, reply: refusalReply(REFUSED, '') };
}
