/** How a session at a super-peer ends, for the remote and for the operator. */
import { IcvpnError } from '../errors.ts';
import { Ipv4PoolError } from '../records/address-range.ts';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import type { Applicant, ServedService } from './issue.ts';
import { NO_ADDRESS, REFUSED, type Reply, UNAVAILABLE } from './messages.ts';

export interface Granted {
  readonly outcome: 'admitted' | 'renewed';
  readonly service: ServedService;
  readonly applicant: Applicant;
  readonly credential: Opened<Credential>;
  /** Of the ticket that was used, in hex. */
  readonly ticket: string | undefined;
  readonly reply: Reply;
}

export interface Refused {
  readonly outcome: 'refused';
  /** For the operator; the remote is not told. */
  readonly cause: string;
  /** Whether a secret was guessed at, and wrongly. */
  readonly guess: boolean;
  /** For renewals, where it stands in the credential shown; admissions name it themselves. */
  readonly serviceId: string | undefined;
  readonly vmid: string | undefined;
  readonly ticket: string | undefined;
  readonly reply: Reply;
}

export type Verdict = Granted | Refused;

const NOTHING: Reply = {
  challenge: undefined,
  grant: undefined,
  refusal: undefined,
  busy: undefined,
  puzzle: undefined,
  renewal: undefined,
};

/** @returns a reply that says the one thing given */
export function reply(what: Partial<Reply>): Reply {
  return { ...NOTHING, ...what };
}

/** To somebody unproven: the same for every cause. */
export function refuse(
  cause: string,
  how: { guess: boolean; ticket?: string | undefined; serviceId?: string },
): Refused {
  return {
    outcome: 'refused',
    cause,
    guess: how.guess,
    serviceId: how.serviceId,
    vmid: undefined,
    ticket: how.ticket,
    reply: reply({ refusal: { reason: REFUSED, text: '' } }),
  };
}

/** To somebody proven: they may know why. */
export class Unavailable extends IcvpnError {
  constructor(message: string) {
    super('ERR_UNAVAILABLE', message, "ask the service's owner");
  }
}

export function refuseProven(
  error: IcvpnError,
  who: { vmid: string | undefined; ticket: string | undefined; serviceId: string },
): Refused {
  const reason = error instanceof Ipv4PoolError ? NO_ADDRESS : UNAVAILABLE;
  const text = Buffer.from(error.message).subarray(0, 200).toString();
  return {
    ...who,
    outcome: 'refused',
    cause: error.message,
    guess: false,
    reply: reply({ refusal: { reason, text } }),
  };
}
