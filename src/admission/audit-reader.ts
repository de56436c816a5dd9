/** Reading an audit log, all of its files, from the oldest line that is kept to the newest. */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { auditFiles } from './audit-files.ts';
import {
  AuditError,
  type AuditEvent,
  type AuditHead,
  type AuditRecord,
  GENESIS,
  hashOf,
  parse,
} from './audit-record.ts';

export interface AuditFilter {
  /** Records at or after this time. */
  readonly since?: Date;
  /** Records before this time. */
  readonly until?: Date;
  readonly vmid?: string;
  readonly event?: AuditEvent;
  readonly serviceId?: string;
}

/**
 * Reads a log and checks the chain as it goes. Its beginning may have been removed by rotation: the first file that is
 * kept then begins with a `segment` line, which follows from a line that is gone.
 *
 * @param onBreak told of each line that does not follow from the one before; the reading goes on behind it
 * @throws AuditError at the first of them when there is no `onBreak`; when a file cannot be read
 */
export async function* readAudit(
  path: string,
  filter: AuditFilter = {},
  onBreak: (error: AuditError) => void = raise,
): AsyncGenerator<AuditRecord> {
  for await (const { record } of chain(path, onBreak)) if (matches(record, filter)) yield record;
}

/** @returns the head of a log whose whole chain holds. @throws AuditError */
export async function verifyAudit(path: string): Promise<AuditHead> {
  let head = GENESIS;
  for await (const link of chain(path, raise)) head = link.head;
  return head;
}

function raise(error: AuditError): never {
  throw error;
}

interface Link {
  readonly record: AuditRecord;
  readonly head: AuditHead;
}

async function* chain(path: string, onBreak: (error: AuditError) => void): AsyncGenerator<Link> {
  let head: AuditHead | undefined;
  for (const file of await auditFiles(path)) {
    for await (const link of chainOf(file, head, onBreak)) {
      head = link.head;
      yield link;
    }
  }
}

/** @param head the line before the file's first; undefined in the oldest file that is kept */
async function* chainOf(
  file: string,
  head: AuditHead | undefined,
  onBreak: (error: AuditError) => void,
): AsyncGenerator<Link> {
  const input = createReadStream(file);
  let before = head;
  let number = 0;
  try {
    await once(input, 'open');
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      number++;
      const record = tryParse(file, number, line, onBreak);
      if (record === undefined) continue;
      const rotated = before === undefined && record.event === 'segment';
      const { sequence, hash } = before ?? GENESIS;
      if (!rotated && (record.previous !== hash || record.sequence !== sequence + 1)) {
        onBreak(new AuditError(file, number, 'it does not follow from the line before'));
      }
      before = { sequence: record.sequence, hash: hashOf(line) };
      yield { record, head: before };
    }
  } catch (cause) {
    if (cause instanceof AuditError) throw cause;
    throw new AuditError(file, number, 'it cannot be read', { cause });
  } finally {
    input.destroy();
  }
}

function tryParse(
  file: string,
  number: number,
  line: string,
  onBreak: (error: AuditError) => void,
): AuditRecord | undefined {
  try {
    return parse(file, number, line);
  } catch (error) {
    if (!(error instanceof AuditError)) throw error;
    onBreak(error);
    return undefined;
  }
}

function matches(record: AuditRecord, filter: AuditFilter): boolean {
  const time = Date.parse(record.time);
  return (
    (filter.since === undefined || time >= filter.since.getTime()) &&
    (filter.until === undefined || time < filter.until.getTime()) &&
    (filter.vmid === undefined || record.vmid === filter.vmid) &&
    (filter.event === undefined || record.event === filter.event) &&
    (filter.serviceId === undefined || record.serviceId === filter.serviceId)
  );
}
