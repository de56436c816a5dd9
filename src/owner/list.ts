/** The signed form of the owner's revocation list: what must stand in it, and what need not any more. */
import { WAY_BACK_SECONDS } from '../records/credential.ts';
import { type Opened, open, seal } from '../records/envelope.ts';
import {
  MAX_REVOCATIONS,
  MAX_REVOKED_TICKETS,
  REVOCATION,
  type RevocationList,
} from '../records/revocation.ts';
import { OwnerError } from './errors.ts';
import { nextSequence, type Review, type Revoked } from './review.ts';

/** Seconds by which clocks may differ; also the grace of an epoch. */
const GRACE = 600;

/** @returns the list, above all that are known. @throws OwnerError `ERR_REVOCATIONS_FULL` */
export async function signList(view: Review, all: Revoked): Promise<Opened<RevocationList>> {
  const { key, descriptor } = view.state;
  const { serviceId } = descriptor.value;
  const { revocations, tickets } = needed(view, all);
  if (revocations.length > MAX_REVOCATIONS || tickets.length > MAX_REVOKED_TICKETS) {
    throw new OwnerError(
      'ERR_REVOCATIONS_FULL',
      `the list is full: it holds ${MAX_REVOCATIONS} nodes and ${MAX_REVOKED_TICKETS} tickets at most`,
      'let every member be admitted anew (icvpn service update --admit-anew, then publish): a credential’s lifetime later those from before need not be listed any more',
    );
  }
  const sequence = nextSequence(view.floors.revocations);
  const list = { serviceId, issuer: serviceId, sequence };
  const sealed = { ...list, revocations: [...revocations], tickets: [...tickets] };
  return open(REVOCATION, await seal(REVOCATION, sealed, key));
}

/**
 * What must still be listed. A credential need not when it has ended and is renewed no more; a node that is barred must, since it could be
 * admitted again, until all that it could be admitted with is void.
 */
function needed(view: Review, { revocations, tickets }: Revoked): Revoked {
  const now = seconds();
  const over = now - view.state.descriptor.value.credentialLifetime - GRACE;
  const barred = barsFrom(view, over);
  return {
    revocations: revocations.filter(
      ({ serial, since }) => since >= (serial === undefined ? barred : over - WAY_BACK_SECONDS),
    ),
    tickets: tickets.filter(({ notAfter }) => notAfter + GRACE >= now),
  };
}

/** From when on bars must stay, in seconds since 1970. */
function barsFrom({ state, publishedEpoch }: Review, over: number): number {
  const { admittedAnew, tickets } = state;
  if (admittedAnew === undefined || publishedEpoch < admittedAnew.epoch) return 0;
  const { since } = admittedAnew;
  const ticketLeft = tickets.some(
    ({ issued, notAfter }) => issued <= since && notAfter + GRACE >= seconds(),
  );
  return since > over || ticketLeft ? 0 : since;
}

const seconds = (): number => Math.floor(Date.now() / 1000);
