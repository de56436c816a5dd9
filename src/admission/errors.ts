/** What can go wrong in admission, as the VM, the owner and the super-peer's operator see it. */
import { IcvpnError } from '../errors.ts';

/**
 * The super-peer did not admit. Deliberately one error for an unknown service, an unknown identity
 * and a wrong secret: whoever can tell them apart can probe for services.
 */
export class AdmissionRefusedError extends IcvpnError {
  constructor(message: string, remedy: string, options?: ErrorOptions) {
    super('ERR_ADMISSION_REFUSED', message, remedy, options);
  }
}

/** A super-peer says, or a list that this node holds, that this VM was thrown out of the service. */
export class RevokedError extends IcvpnError {
  constructor() {
    super(
      'ERR_REVOKED',
      'this VM was revoked',
      "its key is out for good: if the service's owner lets it back in, run icvpn down, remove its state directory, and start it with new bootstrap data",
    );
  }
}

/** The super-peer has too much to do; `retryAfter` is its proposal, in seconds. */
export class AdmissionBusyError extends IcvpnError {
  readonly retryAfter: number;

  constructor(retryAfter: number) {
    super(
      'ERR_ADMISSION_BUSY',
      'the super-peer has too many admissions under way',
      `try again in ${retryAfter} s or at another super-peer of the service`,
    );
    this.retryAfter = retryAfter;
  }
}

/** The super-peer cannot write to its disk what an admission or renewal needs. */
export class AdmissionNotStoredError extends IcvpnError {
  constructor(why: string) {
    super(
      'ERR_ADMISSION_NOT_STORED',
      `the super-peer cannot store: ${why}`,
      'try another super-peer of the service, and tell the operator of this one',
    );
  }
}

/** The other end does not keep to the protocol, or is not who it must be. */
export class AdmissionProtocolError extends IcvpnError {
  constructor(message: string, options?: ErrorOptions) {
    super(
      'ERR_ADMISSION_PROTOCOL',
      message,
      'try another super-peer; if all do this, update icvpn on both ends',
      options,
    );
  }
}

/** What this node would ask for does not fit into a request: no super-peer could be asked. */
export class AdmissionRequestError extends IcvpnError {
  constructor(cause: Error) {
    super(
      'ERR_ADMISSION_REQUEST',
      `what this VM would ask for cannot be sent: ${cause.message}`,
      'give other values for what is named',
      { cause },
    );
  }
}

/** The clocks of this machine and of the super-peer are further apart than two minutes. */
export class ClockError extends IcvpnError {
  /** Seconds by which this machine's clock is ahead; negative when it is behind. */
  readonly ahead: number;

  constructor(ahead: number, superPeer: { toString(): string }) {
    const by = `${Math.abs(ahead)} s ${ahead < 0 ? 'behind' : 'ahead of'}`;
    super(
      'ERR_CLOCK',
      `the clock of this machine is ${by} that of the super-peer ${superPeer}`,
      'set the clock of this machine (or of the super-peer), best by NTP; they may differ by two minutes',
    );
    this.ahead = ahead;
  }
}

/** The service secret was mistyped or cut off: its checksum does not hold. */
export class SecretTypoError extends IcvpnError {
  constructor(message: string) {
    super('ERR_SECRET_TYPO', message, 'copy the secret again, whole, from where it was issued');
  }
}

/** Sealed secrets that cannot be opened here. */
export class SealedSecretsError extends IcvpnError {
  constructor(message: string, options?: ErrorOptions) {
    super(
      'ERR_SEALED_SECRETS',
      message,
      "ask the service's owner for a descriptor sealed to this super-peer's current card",
      options,
    );
  }
}
