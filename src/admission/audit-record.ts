/** The lines of a super-peer's audit log: what stands in them, how they are read, how they are chained. */
import { createHash } from 'node:crypto';
import { IcvpnError } from '../errors.ts';

export const AUDIT_EVENTS = [
  'admitted',
  'refused',
  'renewed',
  'revoked',
  'guessing',
  /** One node key is used from two places. */
  'duplicate',
  /** A file of the log begins, or the log goes on behind a fault; the cause tells why. */
  'segment',
  /** As many lines as `count` says could not be written, as on a full disk. */
  'gap',
] as const;
export type AuditEvent = (typeof AUDIT_EVENTS)[number];

/** What is logged. All of it is public or the operator's own. */
export interface AuditEntry {
  readonly event: AuditEvent;
  /** `-` where a line is about none. */
  readonly serviceId: string;
  /** The remote's PeerID, as Noise proved it. */
  readonly peerId?: string | undefined;
  readonly vmid?: string | undefined;
  /** IP address that it came from. */
  readonly address?: string | undefined;
  /** Why, for refusals and revocations. */
  readonly cause?: string | undefined;
  /** Of the credential, in hex. */
  readonly serial?: string | undefined;
  /** Of the ticket, in hex. */
  readonly ticket?: string | undefined;
  /** How many refusals the line stands for; absent for one. */
  readonly count?: number | undefined;
}

export interface AuditRecord extends AuditEntry {
  readonly sequence: number;
  /** ISO 8601, UTC. */
  readonly time: string;
  /** Hash of the line before, hex. */
  readonly previous: string;
}

/** The end of a log: where its chain stands. */
export interface AuditHead {
  /** Of the last record; 0 when there is none. */
  readonly sequence: number;
  /** Of the last line, hex. */
  readonly hash: string;
}

export class AuditError extends IcvpnError {
  /** The line that is wrong, from 1. */
  readonly line: number;

  constructor(path: string, line: number, reason: string, options?: ErrorOptions) {
    super(
      'ERR_AUDIT',
      `audit log ${path}, line ${line}: ${reason}`,
      'the log was altered or damaged there: compare it with a copy',
      options,
    );
    this.line = line;
  }
}

export const GENESIS: AuditHead = { sequence: 0, hash: '0'.repeat(64) };
/** Bytes of a line without its line feed. */
export const MAX_LINE = 4096;

export const hashOf = (line: string): string => createHash('sha256').update(line).digest('hex');

/** @param number of the line, from 1. @throws AuditError */
export function parse(path: string, number: number, line: string): AuditRecord {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new AuditError(path, number, 'it is no JSON', { cause });
  }
  if (!isRecord(value)) throw new AuditError(path, number, 'it is no audit record');
  return value;
}

const TEXTS = ['peerId', 'vmid', 'address', 'cause', 'serial', 'ticket'] as const;

function isRecord(value: unknown): value is AuditRecord {
  if (typeof value !== 'object' || value === null) return false;
  const fields = new Map<string, unknown>(Object.entries(value));
  const text = (name: string): boolean => typeof fields.get(name) === 'string';
  const optional = (name: string): boolean => !fields.has(name) || text(name);
  const count = fields.get('count');
  return (
    Number.isSafeInteger(fields.get('sequence')) &&
    text('time') &&
    !Number.isNaN(Date.parse(String(fields.get('time')))) &&
    AUDIT_EVENTS.some((event) => event === fields.get('event')) &&
    text('serviceId') &&
    text('previous') &&
    TEXTS.every(optional) &&
    (count === undefined || Number.isSafeInteger(count))
  );
}
