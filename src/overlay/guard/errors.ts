import { IcvpnError } from '../../errors.ts';

/** What came on a connection is not what a node of this project sends; the connection ends. */
export class GuardError extends IcvpnError {
  constructor(message: string, options?: ErrorOptions) {
    super(
      'ERR_CONNECTION_GUARD',
      `the other end ${message}`,
      'update icvpn on both ends; if it recurs, block that address in the firewall',
      options,
    );
  }
}
