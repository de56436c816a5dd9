/** `icvpn audit`: whom a super-peer admitted and refused, from its hash-chained log. */
import { access } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import {
  AUDIT_EVENTS,
  type AuditError,
  type AuditEvent,
  type AuditRecord,
  readAudit,
} from '../../admission/audit.ts';
import { visible } from '../../codec/text.ts';
import { auditPath } from '../../daemon/audit-path.ts';
import { parsePeerIdText } from '../address-options.ts';
import { DEFAULT_SUPER_PEER_STATE, jsonOption, parseDate, stateOption } from '../options.ts';
import type { CliContext } from '../program.ts';

interface AuditOptions {
  readonly state: string;
  readonly since?: Date;
  readonly until?: Date;
  readonly vmid?: string;
  readonly outcome?: AuditEvent;
  readonly service?: { toString(): string };
  readonly json: boolean;
}

export function addAuditCommand(program: Command, context: CliContext): void {
  program
    .command('audit')
    .description(
      "read and verify a super-peer's log of admissions, refusals, renewals, revocations",
    )
    .addOption(stateOption(DEFAULT_SUPER_PEER_STATE))
    .option('--since <time>', 'from this time on', parseDate)
    .option('--until <time>', 'before this time', parseDate)
    .option('--vmid <id>', 'of this VM')
    .addOption(new Option('--outcome <outcome>', 'of this outcome').choices(AUDIT_EVENTS))
    .option('--service <ServiceID>', 'of this service', parsePeerIdText)
    .addOption(jsonOption())
    .action((options: AuditOptions) => audit(options, context));
}

/** Prints line by line, since a log may be larger than memory. The whole chain is checked in any case. */
async function audit(options: AuditOptions, { output }: CliContext): Promise<void> {
  const { state, since, until, vmid, outcome, service, json } = options;
  const filter = {
    ...(since && { since }),
    ...(until && { until }),
    ...(vmid && { vmid }),
    ...(outcome && { event: outcome }),
    ...(service && { serviceId: service.toString() }),
  };
  const path = auditPath(state);
  await access(path);
  let count = 0;
  const breaks: AuditError[] = [];
  const onBreak = (error: AuditError): void => {
    breaks.push(error);
    output.err(visible(`icvpn: ${error.message}`).concat('\n'));
  };
  for await (const record of readAudit(path, filter, onBreak)) {
    count++;
    output.out(`${visible(json ? JSON.stringify(record) : lineOf(record))}\n`);
  }
  const [first] = breaks;
  if (first !== undefined) throw first;
  if (!json) output.out(`${count} records; the chain of the log holds\n`);
}

function lineOf({ time, event, vmid, peerId, address, cause, count }: AuditRecord): string {
  const who = [vmid, peerId, address && `from ${address}`].filter(Boolean).join(' ');
  const why = cause ? `: ${cause}` : '';
  return `${time} ${event} ${who}${why}${count ? ` (${count} times)` : ''}`;
}
