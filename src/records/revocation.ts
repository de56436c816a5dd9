/**
 * Revocation lists: which members are out before their credentials expire.
 *
 * The owner's list counts for every member. A super-peer has a list of its own, which counts for the
 * members that it admitted itself, whoever renewed their credentials since, and for no other: so a
 * super-peer that is taken over can throw out nobody but those that it could have refused anyway.
 * Who is on any list is not admitted anew, wherever it asks.
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { equals } from 'uint8arrays/equals';
import {
  bytes,
  type Infer,
  message,
  optional,
  repeated,
  required,
  uint53,
} from '../codec/protobuf.ts';
import type { Credential } from './credential.ts';
import type { Opened, RecordKind } from './envelope.ts';
import { peerId } from './peer-id.ts';

/** The most revocations in one list. */
export const MAX_REVOCATIONS = 4096;

const revocation = message({
  peerId: required(1, peerId()),
  /** Only the credential with this serial; without it every credential of the node, also later ones. */
  serial: optional(2, bytes({ length: 16 })),
  /** When it was revoked, in seconds since 1970. For people. */
  since: required(3, uint53()),
});

export type Revocation = Infer<typeof revocation>;

/** The most tickets in one list. */
export const MAX_REVOKED_TICKETS = 4096;

const ticket = message({
  /** Identifier of the ticket. */
  id: required(1, bytes({ length: 16 })),
  /** When it is worthless anyway, and need not be listed any more, in seconds since 1970. */
  notAfter: required(2, uint53()),
});

export type RevokedTicket = Infer<typeof ticket>;

const codec = message({
  serviceId: required(1, peerId()),
  /** The owner, whose id is the ServiceID, or a super-peer. */
  issuer: required(2, peerId()),
  sequence: required(3, uint53()),
  revocations: repeated(4, revocation, { max: MAX_REVOCATIONS }),
  /** Tickets that admit nobody any more; only the owner's count. */
  tickets: repeated(5, ticket, { max: MAX_REVOKED_TICKETS }),
});

export type RevocationList = Infer<typeof codec>;

export const REVOCATION: RecordKind<RevocationList> = {
  name: 'revocation',
  codec,
  maxLength: 512 * 1024,
};

/** The lists of one service, newest of each issuer, made quick to ask. */
export class Revocations {
  readonly #serviceId: Ed25519PeerId;
  /** By issuer, then by revoked node. */
  readonly #lists = new Map<string, Map<string, Revocation[]>>();
  /** Identifiers in hex. */
  readonly #tickets = new Set<string>();

  constructor(serviceId: Ed25519PeerId, lists: Iterable<RevocationList>) {
    this.#serviceId = serviceId;
    for (const { issuer, revocations, tickets } of lists) {
      if (issuer.equals(serviceId)) for (const { id } of tickets) this.#tickets.add(hex(id));
      const nodes = new Map<string, Revocation[]>();
      for (const each of revocations) {
        const name = each.peerId.toString();
        nodes.set(name, [...(nodes.get(name) ?? []), each]);
      }
      this.#lists.set(issuer.toString(), nodes);
    }
  }

  /** Whether a credential was taken back, by the owner or by the super-peer that admitted its bearer. */
  revoked({ value }: Opened<Credential>): boolean {
    return [this.#serviceId, value.admittedBy].some((issuer) =>
      this.#of(issuer, value.peerId).some(
        ({ serial }) => serial === undefined || equals(serial, value.serial),
      ),
    );
  }

  /** Whether a node was thrown out by anybody, so that it must not be admitted again. @param node or its text */
  barred(node: Ed25519PeerId | string): boolean {
    const name = node.toString();
    const lists = [...this.#lists.values()];
    return lists.some((nodes) => nodes.get(name)?.some(({ serial }) => serial === undefined));
  }

  /** Whether the owner took a ticket back. */
  ticketRevoked(id: Uint8Array): boolean {
    return this.#tickets.has(hex(id));
  }

  #of(issuer: Ed25519PeerId, node: Ed25519PeerId): readonly Revocation[] {
    return this.#lists.get(issuer.toString())?.get(node.toString()) ?? [];
  }
}

const hex = (id: Uint8Array): string => Buffer.from(id).toString('hex');
