/** What a VM is to ask for is checked before it asks: a super-peer cannot say more than that it is wrong. */
import { parsePrefix } from '../codec/ip.ts';
import { IcvpnError } from '../errors.ts';
import { MAX_ROLES, MAX_SUBNETS, parseRole, parseVmid } from '../records/credential.ts';

export class RequestError extends IcvpnError {
  constructor(message: string, remedy: string) {
    super('ERR_REQUEST', message, remedy);
  }
}

/** @throws RequestError, TextError or AddressError that says which part cannot be asked for */
export function checkRequest(request: {
  readonly vmid?: string;
  readonly roles?: readonly string[];
  readonly subnets: readonly string[];
}): void {
  const { vmid, roles = [], subnets } = request;
  if (vmid !== undefined) parseVmid(vmid);
  roles.forEach(parseRole);
  subnets.forEach(parsePrefix);
  if (roles.length > MAX_ROLES) {
    const message = `${roles.length} roles; a VM has at most ${MAX_ROLES}`;
    throw new RequestError(message, 'give fewer --role');
  }
  if (subnets.length > MAX_SUBNETS) {
    const message = `${subnets.length} subnets; a VM announces at most ${MAX_SUBNETS}`;
    throw new RequestError(message, 'give fewer --subnet, or larger ones that cover several');
  }
}
