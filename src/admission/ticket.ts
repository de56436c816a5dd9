/**
 * Tickets: admission for one VM, once.
 *
 * A ticket is an SRP identity of its own that the owner signs: salt and verifier of a machine-made
 * secret, the one super-peer that may take it, until when, and what VM it is for. The VM has it with
 * the secret as one line of text, and shows the signed part in its first message; so nobody has to
 * be told of a ticket before it is used.
 *
 * ```
 * icvpn-ticket-<base64url of {secret, signed ticket}>.<6 characters of checksum>
 * ```
 *
 * One super-peer only, because "once" has to be decided somewhere: two that cannot reach each other
 * cannot both take a ticket and keep it to one use.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { base64url } from 'multiformats/bases/base64';
import { bytes, type Infer, message, optional, required, uint53 } from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';
import { roles, vmid } from '../records/credential.ts';
import { type Opened, open, type RecordKind, seal } from '../records/envelope.ts';
import { peerId } from '../records/peer-id.ts';
import { SecretTypoError } from './errors.ts';
import { SrpEngine } from './srp/engine.ts';
import { GROUP_2048, SUITE_SRP_2048 } from './srp/group.ts';
import { keyModExp } from './srp/modexp.ts';

const SECRET_LENGTH = 20;
const SALT_LENGTH = 32;
const CHECKSUM_CHARACTERS = 6;
const PREFIX = 'icvpn-ticket-';

const codec = message({
  serviceId: required(1, peerId()),
  id: required(2, bytes({ length: 16 })),
  /** The only super-peer that takes it. */
  superPeer: required(3, peerId()),
  /** Seconds since 1970; worthless from then on. */
  notAfter: required(4, uint53()),
  salt: required(5, bytes({ length: SALT_LENGTH })),
  verifier: required(6, bytes({ length: GROUP_2048.N.length })),
  /** The only VM that may use it; any when absent. */
  vmid: optional(7, vmid()),
  /** The only roles that its VM may have; none when empty. */
  roles: roles(8),
});

export type Ticket = Infer<typeof codec>;

export const TICKET: RecordKind<Ticket> = { name: 'ticket', codec, maxLength: 3072 };

/** The ticket cannot be used for what it is shown for. */
export class TicketError extends IcvpnError {
  constructor(message: string, remedy: string) {
    super('ERR_TICKET', message, remedy);
  }
}

/** SRP's I of a ticket. */
export function ticketIdentity(id: Uint8Array): string {
  return `ticket:${Buffer.from(id).toString('hex')}`;
}

const TicketText = message({
  secret: required(1, bytes({ length: SECRET_LENGTH })),
  ticket: required(2, bytes({ max: TICKET.maxLength })),
});

/** @returns a new ticket as one line of text, secret */
export async function makeTicket(options: {
  /** The service's owner key. */
  ownerKey: PrivateKey;
  superPeer: Ed25519PeerId;
  /** Seconds since 1970. */
  notAfter: number;
  vmid?: string;
  roles?: string[];
}): Promise<string> {
  const serviceId = peerIdFromPrivateKey(options.ownerKey);
  if (serviceId.type !== 'Ed25519') throw new TypeError('an owner key is an Ed25519 key');
  const [secret, id, salt] = [
    randomBytes(SECRET_LENGTH),
    randomBytes(16),
    randomBytes(SALT_LENGTH),
  ];
  const engine = new SrpEngine(SUITE_SRP_2048, keyModExp(GROUP_2048));
  const x = engine.x({ identity: ticketIdentity(id), salt }, ticketPassword(secret));
  const { superPeer, notAfter, vmid, roles = [] } = options;
  const verifier = engine.verifier(x);
  const ticket = { serviceId, id, superPeer, notAfter, salt, verifier, vmid, roles };
  const signed = await seal(TICKET, ticket, options.ownerKey);
  const body = base64url.baseEncode(TicketText.encode({ secret, ticket: signed }));
  for (const each of [secret, x]) each.fill(0);
  return `${PREFIX}${body}.${checksum(body)}`;
}

/** Whether a secret is a ticket rather than a service secret. */
export function isTicket(text: string): boolean {
  return text.trim().startsWith(PREFIX);
}

export interface ParsedTicket {
  readonly ticket: Opened<Ticket>;
  /** SRP's P; to be overwritten by who has it. */
  readonly password: Uint8Array;
}

/** @throws SecretTypoError, EnvelopeError */
export async function parseTicket(text: string): Promise<ParsedTicket> {
  const [body = '', check = '', ...rest] = text.trim().slice(PREFIX.length).split('.');
  if (!isTicket(text) || rest.length > 0 || check !== checksum(body)) {
    throw new SecretTypoError("the ticket's checksum does not hold: it was cut off or mistyped");
  }
  const { secret, ticket } = TicketText.decode(base64url.baseDecode(body));
  const password = ticketPassword(secret);
  secret.fill(0);
  return { ticket: await openTicket(ticket), password };
}

/** @returns the ticket, which the service's owner signed. @throws EnvelopeError, TicketError */
export async function openTicket(raw: Uint8Array): Promise<Opened<Ticket>> {
  const opened = await open(TICKET, raw);
  if (!opened.signer.equals(opened.value.serviceId)) {
    throw new TicketError('the ticket is not signed by its service', 'ask the owner for another');
  }
  return opened;
}

/** Passwords are text to every SRP program. */
function ticketPassword(secret: Uint8Array): Uint8Array {
  return Buffer.from(Buffer.from(secret).toString('hex'));
}

function checksum(body: string): string {
  const digest = createHash('sha256').update(`${PREFIX}${body}`).digest();
  return base64url.baseEncode(digest).slice(0, CHECKSUM_CHARACTERS);
}
