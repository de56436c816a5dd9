/** Why a policy document is refused. */
import { IcvpnError } from '../errors.ts';

export type PolicyCode =
  /** Not JSON, or JSON that says a thing twice or is too deep or too long. */
  | 'ERR_POLICY_JSON'
  /** A field or value that this version does not know. */
  | 'ERR_POLICY_FIELD'
  /** The rules do not do what the document's own tests say. */
  | 'ERR_POLICY_TEST'
  /** A route leads onto addresses of the service itself. */
  | 'ERR_POLICY_ROUTE';

export class PolicyError extends IcvpnError {
  declare readonly code: PolicyCode;
  /** Where in the document, such as `rules[0].ports[1]`; empty for the whole of it. */
  readonly path: string;

  constructor(code: PolicyCode, path: string, reason: string, remedy: string) {
    super(code, `policy${path === '' ? '' : `, ${path}`}: ${reason}`, remedy);
    this.path = path;
  }
}

/** A field or value that is not known, quoted no longer than a line takes. */
export function fieldError(path: string, reason: string, remedy: string): PolicyError {
  return new PolicyError('ERR_POLICY_FIELD', path, reason, remedy);
}

const QUOTED = 80;

/** @returns a value as JSON, cut to what a line takes */
export function quoted(value: unknown): string {
  const text = typeof value === 'object' && value !== null ? kindOf(value) : JSON.stringify(value);
  return text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text;
}

const kindOf = (value: object): string => (Array.isArray(value) ? 'a list' : 'an object');
