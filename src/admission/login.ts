/** As what a VM asks for admission: as a holder of the service secret, or of a ticket. */
import type { Ed25519PeerId } from '@libp2p/interface';
import type { Opened } from '../records/envelope.ts';
import { SERVICE_IDENTITY } from './sealed.ts';
import { type ParsedSecret, parseServiceSecret } from './secret.ts';
import { isTicket, parseTicket, type Ticket, TicketError, ticketIdentity } from './ticket.ts';

export interface Login extends ParsedSecret {
  /** SRP's I. */
  readonly identity: string;
  readonly ticket: Opened<Ticket> | undefined;
}

/** @throws SecretTypoError, EnvelopeError, TicketError when it is for another service or super-peer */
export async function loginOf(
  secret: string | Uint8Array,
  at: { serviceId: Ed25519PeerId; superPeer: Ed25519PeerId },
): Promise<Login> {
  const text = typeof secret === 'string' ? secret : Buffer.from(secret).toString();
  if (!isTicket(text)) {
    return { ...parseServiceSecret(text), identity: SERVICE_IDENTITY, ticket: undefined };
  }
  const { ticket, password } = await parseTicket(text);
  const { serviceId, superPeer, id } = ticket.value;
  if (!serviceId.equals(at.serviceId)) {
    throw new TicketError(`the ticket is for the service ${serviceId}`, 'check the bootstrap data');
  }
  if (!superPeer.equals(at.superPeer)) {
    throw new TicketError(
      `the ticket is for the super-peer ${superPeer}, not for ${at.superPeer}`,
      'ask that super-peer, or the owner for a ticket for this one',
    );
  }
  return { kind: 'machine', bytes: password, identity: ticketIdentity(id), ticket };
}

/** @returns the super-peer that a secret can be used at; undefined for a service secret: at any */
export async function superPeerOf(secret: string): Promise<Ed25519PeerId | undefined> {
  if (!isTicket(secret)) return undefined;
  const { ticket, password } = await parseTicket(secret);
  password.fill(0);
  return ticket.value.superPeer;
}
