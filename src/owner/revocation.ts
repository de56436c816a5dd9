/**
 * The owner's revocation list: members that are out before their credentials end, and tickets taken back.
 *
 * A list is signed only with all that any list of the owner's holds, own or published, so that none takes a word back.
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import type { RevocationList } from '../records/revocation.ts';
import { type ActOptions, act } from './act.ts';
import { nextDescriptor } from './descriptor.ts';
import { signList } from './list.ts';
import { revocationKey } from './review.ts';

/** Seconds that a ticket taken back stays listed when nobody knows when it ends: longer than any lasts. */
const LONGEST_TICKET = 32 * 366 * 86_400;

export interface RevokeOptions extends ActOptions {
  readonly member: Ed25519PeerId;
  /** Whether PSK and attribute keys move on, too: the others renew. Not for an overlay, whose members share none. */
  readonly newEpoch: boolean;
}

/** What `revokeMember` signed, to be published. */
export interface SignedRevocation {
  readonly revocations: Opened<RevocationList>;
  /** Of the new epoch, or the one that is in force. */
  readonly descriptor: Opened<ServiceDescriptor>;
  /** Whether the directory was an old copy, so that the service has a new secret. */
  readonly recovered: boolean;
}

/**
 * Adds a node to the list: none of its credentials counts any more, and it gets no new one.
 *
 * @throws OwnerError `ERR_REVOCATIONS_FULL`, `ERR_OWNER_CARD`
 */
export function revokeMember(options: RevokeOptions): Promise<SignedRevocation> {
  const { member, newEpoch } = options;
  return act('icvpn revoke', options, async (view) => {
    const entry = { peerId: member, serial: undefined, since: seconds() };
    const kept = view.revoked.revocations.filter(
      (each) => revocationKey(each) !== revocationKey(entry),
    );
    const revoked = { ...view.revoked, revocations: [...kept, entry] };
    const moves = newEpoch && view.state.descriptor.value.attributePublicKey !== undefined;
    const next = moves ? await nextDescriptor(view, { newEpoch: true }) : view.state;
    const state = { ...next, revocations: await signList(view, revoked) };
    const { revocations, descriptor } = state;
    const recovered = moves && view.behind !== undefined;
    return { state, result: { revocations, descriptor, recovered } };
  });
}

export interface RevokeTicketsOptions extends ActOptions {
  /** Identifiers (16 bytes); each that was issued and is not over, when left out. */
  readonly ids?: readonly Uint8Array[];
}

/**
 * Takes tickets back: they admit nobody any more, used or not. Whom they have admitted stays.
 *
 * @returns the new list, to be published
 */
export function revokeTickets(options: RevokeTicketsOptions): Promise<Opened<RevocationList>> {
  return act('icvpn service revoke-ticket', options, async (view) => {
    const ends = new Map(view.state.tickets.map(({ id, notAfter }) => [hex(id), notAfter]));
    const ids = options.ids ?? view.state.tickets.map(({ id }) => id);
    const unknown = seconds() + LONGEST_TICKET;
    const added = ids.map((id) => ({ id, notAfter: ends.get(hex(id)) ?? unknown }));
    const names = new Set(added.map(({ id }) => hex(id)));
    const kept = view.revoked.tickets.filter(({ id }) => !names.has(hex(id)));
    const revocations = await signList(view, { ...view.revoked, tickets: [...kept, ...added] });
    return { state: { ...view.state, revocations }, result: revocations };
  });
}

const seconds = (): number => Math.floor(Date.now() / 1000);
const hex = (raw: Uint8Array): string => Buffer.from(raw).toString('hex');
