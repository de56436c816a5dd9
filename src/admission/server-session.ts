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
import { IcvpnError } from '../errors.ts';
import type { Vouched } from '../policy/selector.ts';
import type { Credential } from '../records/credential.ts';
import { EnvelopeError, type Opened } from '../records/envelope.ts';
import type { Decoys, SrpRecord } from './decoy.ts';
import { AdmissionProtocolError, RevokedError } from './errors.ts';
import {
  type Applicant,
  admittedBy,
  encodeProvision,
  grantedSubnets,
  issueCredential,
  leaseFor,
  type ServedService,
} from './issue.ts';
import { admissionTranscript, RunKeys } from './keys.ts';
import type { AddressClaim } from './lease-table.ts';
import {
  type Challenge,
  type Hello,
  NONCE_LENGTH,
  PROTOCOL_VERSION,
  type Proof,
  type Reply,
  Request,
  UNSUPPORTED,
} from './messages.ts';
import { EXPONENT_LENGTH } from './srp/engine.ts';
import { suiteById } from './srp/group.ts';
import type { SrpPool } from './srp/pool.ts';
import type { AdmissionStore, TicketUse } from './store.ts';
import { openTicket, type Ticket, TicketError, ticketIdentity } from './ticket.ts';
import { type Refused, refuse, refuseProven, reply, Unavailable, type Verdict } from './verdict.ts';

/** What all sessions of a super-peer have in common. */
export interface ServerContext {
  readonly key: PrivateKey;
  readonly self: Ed25519PeerId;
  readonly srp: Pick<SrpPool, 'start' | 'finish'>;
  readonly decoys: Decoys;
  /** Where tickets are used up; without it none is taken. */
  readonly tickets: Pick<AdmissionStore, 'ticketUse' | 'useTicket'> | undefined;
  services(serviceId: string): ServedService | undefined;
  /**
   * Leases an IPv4 address of this super-peer to a member.
   *
   * @param held the one that it renews
   * @throws IcvpnError when there is none
   */
  leaseIpv4(
    service: ServedService,
    peerId: Ed25519PeerId,
    held: AddressClaim | undefined,
  ): Promise<AddressClaim>;
  /** Whether a node was thrown out, so that it is not admitted again. */
  barred(service: ServedService, peerId: Ed25519PeerId): boolean;
  /** Whether the owner took a ticket back, also one that was used: it admits nobody any more. */
  ticketRevoked(service: ServedService, id: Uint8Array): boolean;
  /** Whether a credential was taken back, so that it is not renewed. */
  revoked(service: ServedService, credential: Opened<Credential>): boolean;
  /** Whether a credential of a super-peer that was struck off is known to be from before. */
  isStranded(service: ServedService, credential: Opened<Credential>): boolean;
  /** CIDRs of which a member may announce all or parts. */
  allowedSubnets(
    service: ServedService,
    member: Pick<Credential, 'peerId' | 'vmid' | 'roles' | 'vouched'>,
  ): readonly string[];
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

interface Challenged {
  readonly hello: Hello;
  readonly challenge: Challenge;
  readonly record: SrpRecord;
  readonly ticket: Ticket | undefined;
  readonly b: Uint8Array;
  /** Set when the record is a decoy. */
  readonly missing: 'unknown service' | 'unknown identity' | undefined;
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
      const refusal = { reason: UNSUPPORTED, text };
      return {
        ...refuse('unsupported version or suite', { guess: false }),
        reply: reply({ refusal }),
      };
    }
    // The decoy is made and the ticket opened for everybody, so that neither takes time of its own.
    const decoy = decoys.of(hello.serviceId, hello.identity);
    const ticket = await readTicket(hello, self);
    const service = admittedBy(services(hello.serviceId.toString()), self);
    const named = service === undefined ? undefined : recordOf(service, hello, ticket);
    // In another suite the salt is the same, as a decoy's is; there is no verifier to prove then.
    const isSpoken = hello.suite === service?.secrets.suite;
    const known = named && !isSpoken ? { ...named, verifier: decoy.verifier } : named;
    const missing = service === undefined ? 'unknown service' : missingOf(named, isSpoken);
    const record = known ?? decoy;
    const b = random(EXPONENT_LENGTH);
    const B = await srp.start({ suite: hello.suite, verifier: record.verifier, b });
    const { salt, kdf } = record;
    const time = Math.floor(this.#context.clock() / 1000);
    const challenge: Challenge = { nonce: random(NONCE_LENGTH), salt, kdf, B, time };
    this.#state = { hello, challenge, record, ticket, b, missing };
    return reply({ challenge });
  }

  /** @throws AdmissionProtocolError when there was no challenge, or a second proof for one */
  async proof(proof: Proof): Promise<Verdict> {
    const state = this.#state;
    if (state === undefined) throw new AdmissionProtocolError('a proof without a challenge');
    this.#state = undefined;
    const { hello, challenge, record, b, missing } = state;
    const { identity, A, suite } = hello;
    const { salt, B } = challenge;
    const serviceId = hello.serviceId.toString();
    const session = await this.#context.srp.finish({
      ...{ suite, login: { identity, salt }, verifier: record.verifier },
      ...{ b, B, A, M1: proof.M1 },
    });
    b.fill(0);
    const ticket = hello.ticket === undefined ? undefined : identity.replace('ticket:', '');
    // A decoy's verifier belongs to no password, so that M1 holds for it with probability 2^-256.
    if (missing !== undefined || session === undefined) {
      session?.key.fill(0);
      return refuse(missing ?? 'wrong secret', { guess: true, ticket });
    }
    const ends = { vm: this.#remote.peerId, superPeer: this.#context.self };
    const keys = new RunKeys(session.key, admissionTranscript({ ...ends, hello, challenge }));
    session.key.fill(0);
    try {
      if (!keys.confirms('vm', proof.confirmation)) {
        return refuse('wrong confirmation', { guess: true, ticket });
      }
      let vmid: string | undefined;
      try {
        const request = unseal(keys, proof.request);
        vmid = request.vmid;
        return await this.#admit(state, request, keys, session.M2);
      } catch (error) {
        if (!(error instanceof IcvpnError)) throw error;
        return refuseProven(error, { vmid, ticket, serviceId });
      }
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
    { hello, ticket }: Challenged,
    request: Request,
    keys: RunKeys,
    M2: Uint8Array,
  ): Promise<Verdict> {
    const { services, self, key, clock, allowedSubnets, barred, ticketRevoked } = this.#context;
    const { peerId, address: remoteAddress } = this.#remote;
    // Asked for again: the owner may have taken this super-peer out since the challenge.
    const service = admittedBy(services(hello.serviceId.toString()), self);
    if (service === undefined) return refuse('unknown service', { guess: false });
    const now = Math.floor(clock() / 1000);
    const { vmid } = request;
    if (barred(service, peerId)) throw new RevokedError();
    if (ticket !== undefined && ticketRevoked(service, ticket.id)) {
      throw new Unavailable('the ticket was taken back');
    }
    const roles = ticket === undefined ? request.roles : this.#rolesOf(ticket, request, now);
    const leased = await leaseFor(this.#context, service, peerId);
    const vouched = ticket && vouchedBy(ticket);
    const allowed = allowedSubnets(service, { peerId, vmid, roles, vouched });
    const subnets = grantedSubnets(request.subnets, allowed);
    const bearer = { peerId, vmid, roles, vouched, subnets, ...leased };
    const credential = await issueCredential(service, bearer, { key, now });
    const renewalKey = keys.renewalKey();
    const provision = encodeProvision(service, credential, renewalKey, remoteAddress);
    const grant = {
      M2,
      confirmation: keys.confirmation('super-peer'),
      provision: keys.seal('super-peer', provision),
    };
    for (const each of [renewalKey, provision]) each.fill(0);
    // Last: whatever failed before has used nothing up.
    if (ticket !== undefined) this.#useTicket(ticket, now);
    const applicant: Applicant = { ...request, roles, peerId, remoteAddress };
    return {
      ...{ outcome: 'admitted', service, applicant, credential, reply: reply({ grant }) },
      ticket: ticket && Buffer.from(ticket.id).toString('hex'),
    };
  }

  /** @returns the roles that the ticket allows. @throws Unavailable when it does not allow this use */
  #rolesOf(ticket: Ticket, request: Request, now: number): string[] {
    const { tickets } = this.#context;
    if (tickets === undefined) throw new Unavailable('this super-peer takes no tickets');
    this.#checkUse(tickets.ticketUse(ticket, this.#remote.peerId));
    if (now >= ticket.notAfter) throw new Unavailable('the ticket has expired');
    if (ticket.vmid !== undefined && ticket.vmid !== request.vmid) {
      throw new Unavailable('the ticket is for another VM');
    }
    if (!request.roles.every((role) => ticket.roles.includes(role))) {
      const allowed =
        ticket.roles.length === 0 ? 'no roles' : `the roles ${ticket.roles.join(', ')}`;
      throw new Unavailable(`the ticket is for ${allowed} only`);
    }
    return request.roles.length === 0 ? ticket.roles : request.roles;
  }

  /** Checks and uses up at once, so that of two VMs that come with one ticket one is admitted. @throws Unavailable */
  #useTicket(ticket: Ticket, now: number): void {
    const { tickets } = this.#context;
    if (tickets === undefined) throw new Unavailable('this super-peer takes no tickets');
    this.#checkUse(tickets.useTicket(ticket, this.#remote.peerId, now));
  }

  #checkUse(use: TicketUse): void {
    if (use === 'used') {
      throw new Unavailable('the ticket was used by another VM');
    }
    if (use === 'forgotten') {
      throw new Unavailable('the ticket ended before others that this super-peer has forgotten');
    }
  }
}

/** Roles come from the ticket alone; the VMID is the VM's own word where the ticket names none. */
const vouchedBy = ({ vmid }: Ticket): Vouched => (vmid === undefined ? 'roles' : 'vmid-and-roles');

/** @returns the ticket in the message if this super-peer may take it */
async function readTicket(hello: Hello, self: Ed25519PeerId): Promise<Ticket | undefined> {
  if (hello.ticket === undefined) return undefined;
  try {
    const { value } = await openTicket(hello.ticket);
    return value.superPeer.equals(self) ? value : undefined;
  } catch (error) {
    if (error instanceof EnvelopeError || error instanceof TicketError) return undefined;
    throw error;
  }
}

function missingOf(
  named: SrpRecord | undefined,
  isSpoken: boolean,
): 'unknown identity' | undefined {
  return named && isSpoken ? undefined : 'unknown identity';
}

/** @returns salt and verifier of the identity named, if the service has it */
function recordOf(
  { secrets, descriptor }: ServedService,
  hello: Hello,
  ticket: Ticket | undefined,
): SrpRecord | undefined {
  if (hello.ticket === undefined) return hello.identity === secrets.identity ? secrets : undefined;
  if (ticket === undefined || !ticket.serviceId.equals(descriptor.value.serviceId))
    return undefined;
  if (hello.identity !== ticketIdentity(ticket.id)) return undefined;
  return { salt: ticket.salt, verifier: ticket.verifier, kdf: undefined };
}

function unseal(keys: RunKeys, sealed: Uint8Array): Request {
  let plain: Uint8Array;
  try {
    plain = keys.unseal('vm', sealed);
  } catch (cause) {
    throw new AdmissionProtocolError('the request cannot be unsealed', { cause });
  }
  return Request.decode(plain);
}
