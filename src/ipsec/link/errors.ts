import { type Refusal, RefusedError } from '../netlink/errors.ts';

/** The kernel refused a change of interfaces, addresses or routes. */
export class LinkError extends RefusedError {}

const MEANINGS: ReadonlyMap<string, readonly [code: string, remedy: string]> = new Map([
  ['EPERM', ['ERR_NOT_ROOT', 'Run as root, or with the capability CAP_NET_ADMIN.']],
  ['EEXIST', ['ERR_LINK_EXISTS', 'Choose another name, address or route, or remove the old one.']],
  ['ENODEV', ['ERR_LINK_NOT_FOUND', 'Check the name of the interface.']],
  ['ESRCH', ['ERR_LINK_NOT_FOUND', 'Check the route: it is not in the table.']],
  ['EADDRNOTAVAIL', ['ERR_LINK_NOT_FOUND', 'Check the address: no interface has it.']],
  ['EOPNOTSUPP', ['ERR_LINK_UNSUPPORTED', 'Load the kernel module of this kind of interface.']],
]);

export function linkError(refusal: Refusal): LinkError {
  const meaning = MEANINGS.get(refusal.errnoName);
  const [code, remedy] = meaning ?? ['ERR_LINK_REFUSED', 'Look the errno up in rtnetlink(7).'];
  return new LinkError(code, refusal, remedy);
}
