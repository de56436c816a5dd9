import { IcvpnError } from '../src/errors.ts';

/**
 * Exit codes of the runner itself; every other code is the command's own. As those of coreutils'
 * `timeout` and of container runners.
 */
export const EXIT_USAGE = 2;
export const EXIT_TIME_LIMIT = 124;
export const EXIT_LAB_FAILED = 125;

/** The lab cannot be had or broke down. The command has not run, or has not run to its end. */
export class LabError extends IcvpnError {
  /** What the runner exits with. */
  readonly exitCode: number;

  constructor(code: string, message: string, remedy: string, exitCode = EXIT_LAB_FAILED) {
    super(code, message, remedy);
    this.exitCode = exitCode;
  }
}
