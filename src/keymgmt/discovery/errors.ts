import { IcvpnError } from '../../errors.ts';

export type ListFault =
  | 'format'
  | 'signer'
  | 'service'
  | 'epoch'
  | 'requester'
  | 'expired'
  | 'old'
  | 'hash'
  | 'content';

/** A sealed member list must not be believed, or does not open. */
export class MemberListError extends IcvpnError {
  readonly fault: ListFault;

  constructor(fault: ListFault, message: string, options?: ErrorOptions) {
    super('ERR_MEMBER_LIST', message, 'discard it and ask another super-peer', options);
    this.fault = fault;
  }
}

/** The thread that holds an authority's keys cannot do what it is asked. */
export class AuthorityError extends IcvpnError {
  constructor(
    code: 'ERR_AUTHORITY_BUSY' | 'ERR_AUTHORITY_STOPPED' | 'ERR_AUTHORITY',
    message: string,
    options?: ErrorOptions,
  ) {
    const remedy =
      code === 'ERR_AUTHORITY_BUSY'
        ? 'try again in a few seconds, or at another super-peer'
        : 'see the message; restart the super-peer if its thread has stopped';
    super(code, message, remedy, options);
  }
}
