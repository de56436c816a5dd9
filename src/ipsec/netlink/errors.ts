import { IcvpnError } from '../../errors.ts';

/** A netlink exchange that failed: bytes that are no message, a value that fits no field, time out, refusal. */
export class NetlinkError extends IcvpnError {}

/** Bytes that break the format of netlink, or of a structure inside it. Code `ERR_NETLINK_MALFORMED`. */
export class MalformedError extends NetlinkError {
  constructor(what: string) {
    super(
      'ERR_NETLINK_MALFORMED',
      `malformed netlink message: ${what}`,
      'Nothing was changed. If the kernel really sent this, report its version (uname -r).',
    );
  }
}

/** A value that its kernel field cannot hold. Code `ERR_NETLINK_VALUE`. The value itself is not shown. */
export class ValueError extends NetlinkError {
  constructor(field: string, expected: string) {
    super('ERR_NETLINK_VALUE', `${field} must be ${expected}`, `Pass ${expected} as ${field}.`);
  }
}

/** What the kernel said when it refused a request. */
export interface Refusal {
  /** What was asked, in words, e.g. `add state`. */
  readonly operation: string;
  /** The positive errno, e.g. 17. */
  readonly errno: number;
  /** Its name, e.g. `EEXIST`. */
  readonly errnoName: string;
  /** The extended acknowledgement's text, where the kernel gave one. */
  readonly detail: string | undefined;
}

/** The kernel refused a request. `errno` is positive, `errnoName` its symbol, `detail` the kernel's own words. */
export class RefusedError extends NetlinkError {
  readonly operation: string;
  readonly errno: number;
  readonly errnoName: string;
  readonly detail: string | undefined;

  constructor(code: string, refusal: Refusal, remedy: string) {
    const detail = refusal.detail === undefined ? '' : `: ${refusal.detail}`;
    super(code, `${refusal.operation}: kernel refused, ${refusal.errnoName}${detail}`, remedy);
    this.operation = refusal.operation;
    this.errno = refusal.errno;
    this.errnoName = refusal.errnoName;
    this.detail = refusal.detail;
  }
}
