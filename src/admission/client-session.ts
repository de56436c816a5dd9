/**
 * The VM's side of one admission, without input and output.
 *
 * ```
 *   hello() ──▶ Hello      challenge(Challenge) ──▶ Proof      grant(Grant) ──▶ Admission
 * ```
 */

import { timingSafeEqual } from 'node:crypto';
import { CLOCK_SKEW_SECONDS } from '../records/credential.ts';
import { type Accepting, type Admission, acceptProvision } from './accept.ts';
import { AdmissionProtocolError, AdmissionRefusedError, ClockError } from './errors.ts';
import { isBearable, isStrongEnough, stretch } from './kdf.ts';
import { admissionTranscript, RunKeys } from './keys.ts';
import type { Login } from './login.ts';
import {
  type Challenge,
  type Grant,
  type Hello,
  NONCE_LENGTH,
  PROTOCOL_VERSION,
  type Proof,
  Request,
} from './messages.ts';
import { EXPONENT_LENGTH, SrpEngine, type SrpSession, SrpValueError } from './srp/engine.ts';
import { SUITE_SRP_2048 } from './srp/group.ts';
import { keyModExp } from './srp/modexp.ts';

export interface ClientContext extends Accepting {
  readonly login: Login;
  readonly request: Request;
  random(length: number): Uint8Array;
}

const SUITE = SUITE_SRP_2048;
const engine = new SrpEngine(SUITE, keyModExp(SUITE.group));

export class ClientSession {
  readonly #context: ClientContext;
  readonly #a: Uint8Array;
  readonly #hello: Hello;
  #proven: { keys: RunKeys; M2: Uint8Array } | undefined;

  constructor(context: ClientContext) {
    this.#context = context;
    this.#a = context.random(EXPONENT_LENGTH);
    this.#hello = {
      version: PROTOCOL_VERSION,
      suite: SUITE.id,
      serviceId: context.serviceId,
      identity: context.login.identity,
      nonce: context.random(NONCE_LENGTH),
      A: engine.clientPublic(this.#a),
      ticket: context.login.ticket?.bytes,
    };
  }

  hello(): Hello {
    return this.#hello;
  }

  /** @throws AdmissionRefusedError, AdmissionProtocolError, ClockError */
  async challenge(challenge: Challenge): Promise<Proof> {
    const { login, self: vm, superPeer, request } = this.#context;
    const { salt, kdf, B } = challenge;
    // Before anything is proven: the super-peer would use a ticket up for a credential that does not hold here.
    const ahead = Math.floor(this.#context.clock() / 1000) - challenge.time;
    if (Math.abs(ahead) > CLOCK_SKEW_SECONDS) throw new ClockError(ahead, superPeer);
    // A secret that icvpn made is stretched by no service: whoever asks for that refuses it anyway.
    const stretching = login.kind === 'human' ? kdf : undefined;
    if (stretching !== undefined && !isBearable(stretching)) {
      throw new AdmissionProtocolError('the super-peer wants the secret stretched too much');
    }
    if (kdf !== undefined && !isStrongEnough(kdf)) {
      throw new AdmissionProtocolError('the super-peer wants the secret stretched too little');
    }
    if (kdf === undefined && login.kind === 'human') {
      throw new AdmissionRefusedError(
        'the service has no secret that a person chose',
        'check the service secret: one that icvpn made begins with "icvpn-secret-"',
      );
    }
    const hello = this.#hello;
    const password = await stretch(login, salt, stretching);
    const who = { identity: hello.identity, salt };
    const x = engine.x(who, password);
    const srp = forbidden(() => engine.clientSession(who, { a: this.#a, A: hello.A, x }, B));
    const keys = new RunKeys(srp.key, admissionTranscript({ vm, superPeer, hello, challenge }));
    for (const each of [password, x, this.#a, srp.key]) each.fill(0);
    this.#proven = { keys, M2: srp.M2 };
    const plain = Request.encode(request);
    return { M1: srp.M1, confirmation: keys.confirmation('vm'), request: keys.seal('vm', plain) };
  }

  /**
   * The super-peer has to prove that it has the verifier, and in this very run.
   *
   * @throws AdmissionProtocolError, ClockError, EnvelopeError
   */
  async grant(grant: Grant): Promise<Admission> {
    if (this.#proven === undefined) throw new AdmissionProtocolError('a grant before the proof');
    const { keys, M2 } = this.#proven;
    if (!timingSafeEqual(M2, grant.M2) || !keys.confirms('super-peer', grant.confirmation)) {
      throw new AdmissionProtocolError('the super-peer does not prove that it serves the service');
    }
    return acceptProvision(keys, grant.provision, this.#context);
  }

  /** Overwrites what is secret. Call it when the session is over, however it ended. */
  wipe(): void {
    this.#proven?.keys.wipe();
    this.#a.fill(0);
    this.#context.login.bytes.fill(0);
  }
}

function forbidden(run: () => SrpSession): SrpSession {
  try {
    return run();
  } catch (cause) {
    if (!(cause instanceof SrpValueError)) throw cause;
    const message = `the super-peer sent a bad value: ${cause.message}`;
    throw new AdmissionProtocolError(message, { cause });
  }
}
