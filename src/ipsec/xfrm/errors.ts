import { type Refusal, RefusedError } from '../netlink/errors.ts';

/**
 * The kernel refused an xfrm request. `code` is one of the table below, `errnoName` the kernel's,
 * `detail` its extended acknowledgement. Values that never reached the kernel throw ValueError
 * (`ERR_NETLINK_VALUE`) instead; all of them are IcvpnErrors.
 */
export class XfrmError extends RefusedError {}

/** errno of a refusal -> code, what to do. */
const MEANINGS: ReadonlyMap<string, readonly [code: string, remedy: string]> = new Map([
  ['EPERM', ['ERR_NOT_ROOT', 'Run as root, or with the capability CAP_NET_ADMIN.']],
  ['EEXIST', ['ERR_XFRM_EXISTS', 'Delete the one that is there, or update it instead of adding.']],
  [
    'ESRCH',
    ['ERR_XFRM_NOT_FOUND', 'Dump the table to see what is there: mark and if_id count too.'],
  ],
  [
    'ENOENT',
    ['ERR_XFRM_NOT_FOUND', 'Dump the table to see what is there: mark and if_id count too.'],
  ],
  [
    'EINVAL',
    ['ERR_XFRM_INVALID', 'The combination of fields is one that this kernel does not take.'],
  ],
  [
    'ENOSYS',
    [
      'ERR_XFRM_UNSUPPORTED',
      'Load the kernel module of this algorithm, or choose another algorithm.',
    ],
  ],
  [
    'EPROTONOSUPPORT',
    ['ERR_XFRM_UNSUPPORTED', 'Load the modules esp4 and esp6, or use a kernel that has ESP.'],
  ],
  [
    'EOPNOTSUPP',
    ['ERR_XFRM_UNSUPPORTED', 'This kernel, or this device, lacks what was asked for.'],
  ],
  ['ENOBUFS', ['ERR_XFRM_LIMIT', 'Free memory, or delete states that are not needed.']],
  ['ENOMEM', ['ERR_XFRM_LIMIT', 'Free memory, or delete states that are not needed.']],
]);

/** In the words of an SPI allocation ENOENT means something else. */
export const ALLOCATE_SPI = 'allocate SPI';

export function xfrmError(refusal: Refusal): XfrmError {
  if (refusal.operation === ALLOCATE_SPI && refusal.errnoName === 'ENOENT') {
    return new XfrmError(
      'ERR_XFRM_NO_SPI',
      refusal,
      'Give a wider range: the kernel tries at random.',
    );
  }
  const meaning = MEANINGS.get(refusal.errnoName);
  const [code, remedy] = meaning ?? [
    'ERR_XFRM_REFUSED',
    'Look the errno up in the kernel sources.',
  ];
  return new XfrmError(code, refusal, remedy);
}
