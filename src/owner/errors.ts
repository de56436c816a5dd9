import { IcvpnError } from '../errors.ts';

/** What an owner's act cannot do, and why. Nothing has changed when it is thrown. */
export class OwnerError extends IcvpnError {}
