/** How a session at a super-peer ends, for the remote and for the operator. */
import { IcvpnError } from '../errors.ts';
import { Ipv4PoolError } from '../records/address-range.ts';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import { RevokedError } from './errors.ts';
import type { Applicant, ServedService } from './issue.ts';
import { NO_ADDRESS, NOT_STORED, REFUSED, REVOKED, type Reply, UNAVAILABLE } from './messages.ts';

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
  /** What this super-peer could not write, where that is the cause. */
  readonly fault?: IcvpnError;
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
  if (isStorageFault(error)) return refuseUnstored(error, who);
  const reason = reasonOf(error);
  const text = Buffer.from(error.message).subarray(0, 200).toString();
  return {
    ...who,
    outcome: 'refused',
    cause: error.message,
    guess: false,
    reply: reply({ refusal: { reason, text } }),
  };
}

function reasonOf(error: IcvpnError): number {
  if (error instanceof RevokedError) return REVOKED;
  return error instanceof Ipv4PoolError ? NO_ADDRESS : UNAVAILABLE;
}

/** The VM has done nothing wrong: it may ask another super-peer, or this one later. */
function refuseUnstored(
  fault: IcvpnError,
  who: { vmid: string | undefined; ticket: string | undefined; serviceId: string },
): Refused {
  const text = fault.code === 'ERR_DISK_FULL' ? 'its disk is full' : 'its disk refuses';
  const refusal = { reason: NOT_STORED, text };
  const cause = fault.message;
  return { ...who, outcome: 'refused', cause, guess: false, fault, reply: reply({ refusal }) };
}

/** What the super-peer's own disk refused, as its store and its audit log say it. */
const STORAGE_CODES: readonly string[] = ['ERR_DISK_FULL', 'ERR_FILE', 'ERR_ADMISSION_STORE'];

export const isStorageFault = ({ code }: IcvpnError): boolean => STORAGE_CODES.includes(code);
