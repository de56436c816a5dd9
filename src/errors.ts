/**
 * The base of every error that icvpn throws on purpose.
 *
 * `code` is the contract: programs match on it and it never changes. `message` says what is wrong
 * and `remedy` what a person can do about it; the command line prints both on one line.
 */
export class IcvpnError extends Error {
  readonly code: string;
  readonly remedy: string;

  constructor(code: string, message: string, remedy: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.remedy = remedy;
  }
}
