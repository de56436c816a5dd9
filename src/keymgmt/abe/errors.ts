import { IcvpnError } from '../../errors.ts';

/** `initAbe()` was not awaited, or the pairing library could not be started. */
export class AbeEngineError extends IcvpnError {
  constructor(message: string, options?: ErrorOptions) {
    super(
      'ERR_ABE_ENGINE',
      message,
      'await initAbe() once before any other call of icvpn/abe, and check that mcl-wasm is installed',
      options,
    );
  }
}

/** An argument is outside what the scheme can express. */
export class AbeArgumentError extends IcvpnError {
  constructor(message: string) {
    super('ERR_ABE_ARGUMENT', message, 'correct the argument named in the message');
  }
}

/** The text of a policy does not parse. `position` counts UTF-16 units from 0. */
export class AbePolicyError extends IcvpnError {
  readonly position: number;

  constructor(message: string, position: number) {
    super(
      'ERR_ABE_POLICY',
      `${message} at position ${position}`,
      'write policies like: PeerID: abc and (ServiceID: web or not role: guest)',
    );
    this.position = position;
  }
}

/** Serialised bytes are not the canonical form of the object they claim to be. */
export class AbeFormatError extends IcvpnError {
  constructor(message: string) {
    super(
      'ERR_ABE_FORMAT',
      message,
      'the bytes are damaged, hostile or of another kind: get them again from their owner',
    );
  }
}

/** The key's attributes do not satisfy the ciphertext's policy. Both are public to the key's holder. */
export class AbeUnsatisfiedError extends IcvpnError {
  constructor() {
    super(
      'ERR_ABE_UNSATISFIED',
      "the key's attributes do not satisfy the policy of the ciphertext",
      'ask the authority for a key with the attributes that the policy names',
    );
  }
}

/** The ciphertext was not made for this key's authority, or ciphertext or key was altered. */
export class AbeDecryptError extends IcvpnError {
  constructor() {
    super(
      'ERR_ABE_DECRYPT',
      'the ciphertext does not open',
      'check that ciphertext and key come from the same authority and arrived unaltered',
    );
  }
}
