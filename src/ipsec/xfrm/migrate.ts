/** MIGRATE: moves a policy and the states of its templates to other tunnel ends, keys and counters kept. */
import { MalformedError, ValueError } from '../netlink/errors.ts';
import { attribute, concat, decodeAttributes } from '../netlink/framing.ts';
import { decodeSelector, encodeSelector, formatAddress, parseAddress } from './address.ts';
import { put } from './attributes.ts';
import type { MigrateEvent, Migration } from './event.ts';
import { XFRMA } from './kernel/constants.ts';
import { xfrmUserMigrate } from './kernel/event.ts';
import { xfrmUserpolicyId } from './kernel/identity.ts';
import { directions, modes, protocols } from './names.ts';
import type { PolicyId } from './policy.ts';

/** XFRM_MAX_DEPTH */
const MAX_MIGRATIONS = 6;

/** What is to be moved: of one policy, one entry for each of its templates. */
export interface MigrateSpec extends Omit<PolicyId, 'mark' | 'type'> {
  readonly migrations: readonly Migration[];
}

/** @throws ValueError */
export function encodeMigrate({ selector, direction, ifId, migrations }: MigrateSpec): Uint8Array {
  if (migrations.length === 0 || migrations.length > MAX_MIGRATIONS) {
    throw new ValueError('migrations', `1 to ${MAX_MIGRATIONS} migrations`);
  }
  const id = xfrmUserpolicyId.encode({
    sel: encodeSelector(selector),
    index: 0,
    dir: directions.encode(direction, 'direction'),
  });
  return concat([
    id,
    attribute(XFRMA.MIGRATE, concat(migrations.map(encodeMigration))),
    ...put(XFRMA.IF_ID, 'u32', ifId),
  ]);
}

function encodeMigration(migration: Migration): Uint8Array {
  const oldSource = parseAddress(migration.oldSource, 'oldSource');
  const oldDestination = parseAddress(migration.oldDestination, 'oldDestination');
  const newSource = parseAddress(migration.newSource, 'newSource');
  const newDestination = parseAddress(migration.newDestination, 'newDestination');
  if (oldSource.family !== oldDestination.family) {
    throw new ValueError('oldSource', 'of the same family as oldDestination');
  }
  if (newSource.family !== newDestination.family) {
    throw new ValueError('newSource', 'of the same family as newDestination');
  }
  return xfrmUserMigrate.encode({
    oldDaddr: oldDestination.bytes,
    oldSaddr: oldSource.bytes,
    newDaddr: newDestination.bytes,
    newSaddr: newSource.bytes,
    proto: protocols.encode(migration.protocol, 'protocol'),
    mode: modes.encode(migration.mode, 'mode'),
    reqid: migration.reqid ?? 0,
    oldFamily: oldSource.family,
    newFamily: newSource.family,
  });
}

/** Undefined for another protocol, a newer mode, a socket's policy. @throws MalformedError */
export function decodeMigrate(body: Uint8Array): MigrateEvent | undefined {
  const { sel, dir } = xfrmUserpolicyId.decode(body);
  const attributes = decodeAttributes(body.subarray(xfrmUserpolicyId.size), XFRMA.PAD);
  const direction = directions.decode(dir);
  const selector = decodeSelector(sel);
  const payload = attributes.get(XFRMA.MIGRATE) ?? new Uint8Array();
  const count = payload.length / xfrmUserMigrate.size;
  if (selector === undefined) throw new MalformedError('migrate without family');
  if (!Number.isInteger(count) || count > MAX_MIGRATIONS) {
    throw new MalformedError(`migrate of ${payload.length} bytes`);
  }
  if (direction === undefined) return undefined;
  const migrations: Migration[] = [];
  for (let at = 0; at < payload.length; at += xfrmUserMigrate.size) {
    const migration = migrationOf(payload.subarray(at));
    if (migration === undefined) return undefined;
    migrations.push(migration);
  }
  return { type: 'migrate', direction, selector, migrations };
}

function migrationOf(payload: Uint8Array): Migration | undefined {
  const raw = xfrmUserMigrate.decode(payload);
  const protocol = protocols.decode(raw.proto);
  const mode = modes.decode(raw.mode);
  if (protocol === undefined || mode === undefined) return undefined;
  return {
    oldSource: formatAddress(raw.oldFamily, raw.oldSaddr),
    oldDestination: formatAddress(raw.oldFamily, raw.oldDaddr),
    newSource: formatAddress(raw.newFamily, raw.newSaddr),
    newDestination: formatAddress(raw.newFamily, raw.newDaddr),
    protocol,
    mode,
    reqid: raw.reqid,
  };
}
