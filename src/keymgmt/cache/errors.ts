import { IcvpnError } from '../../errors.ts';

/** What is wrong with a secure cache. `code` is `ERR_CACHE_` and this in upper case. */
export type CacheFault = 'permissions' | 'key' | 'corrupt' | 'name' | 'size' | 'closed' | 'io';

export class CacheError extends IcvpnError {
  readonly fault: CacheFault;

  constructor(fault: CacheFault, message: string, remedy: string, options?: ErrorOptions) {
    super(`ERR_CACHE_${fault.toUpperCase()}`, message, remedy, options);
    this.fault = fault;
  }
}
