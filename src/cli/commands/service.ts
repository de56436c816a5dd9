/** `icvpn service`: what a service's owner does. */
import { readFile } from 'node:fs/promises';
import type { Ed25519PeerId } from '@libp2p/interface';
import { type Command, Option } from 'commander';
import { formatPrefix, type Prefix } from '../../codec/ip.ts';
import type { PublishedStatus } from '../../daemon/published-status.ts';
import type { SignedService } from '../../owner/service.ts';
import { openCard } from '../../records/super-peer-card.ts';
import { ipv6Prefix } from '../../records/virtual-address.ts';
import { parsePeerIdList, parsePeerIdText, parsePrefixArgument } from '../address-options.ts';
import {
  cardsOption,
  jsonOption,
  list,
  parseCount,
  parseTextList,
  serviceDirOption,
} from '../options.ts';
import { print, sequenceText, table } from '../output.ts';
import {
  asking,
  assertWhole,
  NotWholeError,
  offlineOption,
  type PublishOptions,
  patiently,
  publicationsText,
  publish,
  publishedOr,
  tellRecovered,
  waitOption,
} from '../owner.ts';
import type { CliContext } from '../program.ts';

const DAY_SECONDS = 86_400;

const parseTicketIds: (text: string, before: Uint8Array[] | undefined) => Uint8Array[] = list(
  (text: string): Uint8Array => {
    if (!/^[0-9a-f]{32}$/.test(text)) throw new Error('not the id of a ticket, 32 hex digits');
    return Uint8Array.from(Buffer.from(text, 'hex'));
  },
);

interface OwnerOptions {
  readonly dir: string;
  readonly json: boolean;
}

interface UpdateOptions extends OwnerOptions {
  readonly superPeer: string[];
  readonly remove: Ed25519PeerId[];
  readonly newEpoch: boolean;
  readonly newSecret: boolean;
  readonly admitAnew: boolean;
  readonly offline: boolean;
  readonly bootstrap?: string;
}

interface TicketOptions extends OwnerOptions {
  readonly bootstrap: string;
  readonly superPeer?: Ed25519PeerId;
  readonly valid: number;
  readonly vmid?: string;
  readonly role: string[];
}

interface RevokeTicketOptions extends PublishOptions {
  readonly all: boolean;
  readonly offline: boolean;
}

interface CreateOptions {
  readonly name: string;
  readonly dir: string;
  readonly bootstrap: string;
  readonly superPeer: string[];
  readonly ipv4: Prefix;
  readonly credentialLifetime: number;
  readonly secretFile?: string;
  readonly json: boolean;
}

export function addServiceCommands(program: Command, context: CliContext): void {
  const service = program.command('service').description("a service owner's commands");
  addCreateOptions(service.command('create'), '198.18.0.0/16')
    .description('make a service: its key, its secret, its descriptor, its bootstrap data')
    .action((options: CreateOptions) => create(options, false, context));
  addUpdateOptions(service.command('update'))
    .description('sign a newer descriptor: other super-peers, a new epoch; publish it afterwards')
    .action((options: UpdateOptions) => update(options, context));
  addPublishCommands(service, context);
  service
    .command('ticket')
    .description('make bootstrap data that admits one VM, once')
    .addOption(serviceDirOption())
    .requiredOption('--bootstrap <file>', 'file to write the bootstrap data to')
    .option(
      '--super-peer <PeerID>',
      'where it can be used; the first when left out',
      parsePeerIdText,
    )
    .option('--valid <seconds>', 'how long it can be used', parseCount, DAY_SECONDS)
    .option('--vmid <id>', 'only for the VM of this name')
    .option('--role <role>', 'role that the VM gets; may be given again', parseTextList, [])
    .addOption(jsonOption())
    .action((options: TicketOptions) => ticket(options, context));
  service
    .command('revoke-ticket')
    .description('take tickets back: they admit nobody any more, used or not')
    .argument('[ids...]', 'of the tickets, as icvpn service ticket printed them', parseTicketIds)
    .addOption(new Option('--all', 'all that were made and are not over').default(false))
    .addOption(serviceDirOption())
    .addOption(offlineOption())
    .addOption(waitOption())
    .addOption(jsonOption())
    .action((ids: Uint8Array[] | undefined, options: RevokeTicketOptions, command: Command) => {
      if ((ids ?? []).length > 0 === options.all) {
        return command.error('error: give the ids of tickets, or --all');
      }
      return revokeTicket(ids ?? [], options, context);
    });
}

/** What an owner of a service and an operator of an overlay publish, and see of it. */
export function addPublishCommands(parent: Command, context: CliContext): void {
  parent
    .command('publish')
    .description(
      'hand the newest descriptor, policy and revocations to the super-peers that it names',
    )
    .addOption(serviceDirOption())
    .addOption(waitOption())
    .addOption(jsonOption())
    .action(async (options: PublishOptions) => {
      const delivery = await publish(options, context, true);
      print(context.output, options.json, delivery.all, publicationsText);
      assertWhole(delivery, options.dir);
    });
  parent
    .command('status')
    .description('which super-peer has which version of what was signed')
    .addOption(serviceDirOption())
    .addOption(jsonOption())
    .action((options: OwnerOptions) => status(options, context));
}

async function status({ dir, json }: OwnerOptions, context: CliContext): Promise<void> {
  const { OwnerLink } = await import('../../daemon/owner-link.ts');
  const { publishedStatus } = await import('../../daemon/published-status.ts');
  const { readOwner } = await import('../../owner/directory.ts');
  const state = await readOwner(dir);
  await using link = await OwnerLink.open(state.key);
  const answers = await patiently(context, { json, what: 'super-peers to answer' }, () =>
    link.ask(state, context.signal),
  );
  const told = publishedStatus(state, answers);
  print(context.output, json, told, publishedText);
  if (!told.whole) throw notPublished(dir);
}

async function ticket(options: TicketOptions, context: CliContext): Promise<void> {
  const { createTicket } = await import('../../owner/ticket.ts');
  const { id } = await createTicket({
    dir: options.dir,
    validFor: options.valid,
    roles: options.role,
    bootstrapFile: options.bootstrap,
    signal: context.signal,
    ...(options.superPeer && { superPeer: options.superPeer }),
    ...(options.vmid && { vmid: options.vmid }),
  });
  const made = { bootstrap: options.bootstrap, ticket: Buffer.from(id).toString('hex') };
  print(
    context.output,
    options.json,
    made,
    (it) => `ticket ${it.ticket}\nbootstrap data for one VM, secret: ${it.bootstrap}`,
  );
}

async function revokeTicket(
  ids: readonly Uint8Array[],
  options: RevokeTicketOptions,
  context: CliContext,
): Promise<void> {
  const { dir, offline, all, json } = options;
  const { revokeTickets } = await import('../../owner/revocation.ts');
  const { signal, output } = context;
  const list = await asking(options, context, (ask) =>
    revokeTickets({ dir, ask, signal, ...(!all && { ids }) }),
  );
  const { sequence, tickets } = list.value;
  const delivery = offline ? undefined : await publish(options, context);
  const published = delivery?.of('revocations') ?? null;
  print(output, json, { sequence, tickets: tickets.length, published }, () =>
    [`${tickets.length} tickets are taken back`, publishedOr(published, dir)].join('\n'),
  );
  if (delivery) assertWhole(delivery, dir);
}

/** The options that creating a service and creating an overlay share. */
export function addCreateOptions(command: Command, ipv4: string): Command {
  return command
    .requiredOption('--name <name>', 'name, for people')
    .requiredOption('--dir <dir>', "directory for the owner's key and secrets; keep it safe")
    .requiredOption('--bootstrap <file>', 'file to write the bootstrap data to')
    .addOption(cardsOption())
    .addOption(
      new Option('--ipv4 <prefix>', 'virtual IPv4 addresses')
        .argParser(parsePrefixArgument)
        .default(parsePrefixArgument(ipv4), ipv4),
    )
    .option(
      '--credential-lifetime <seconds>',
      'how long a credential lasts',
      parseCount,
      DAY_SECONDS,
    )
    .option('--secret-file <file>', 'file with a secret of your own; one is made when left out')
    .addOption(jsonOption());
}

/** The options that updating a service and updating an overlay share. */
export function addUpdateOptions(command: Command): Command {
  return command
    .addOption(serviceDirOption())
    .option(
      '--super-peer <card>',
      'card of a super-peer to name; may be given again',
      parseTextList,
      [],
    )
    .option('--remove <PeerID>', 'super-peer that shall admit no more', parsePeerIdList, [])
    .option('--new-epoch', 'make every member get a new credential and new keys', false)
    .option(
      '--new-secret',
      'replace the secret, as after a revoked VM knew it; a new epoch too',
      false,
    )
    .option(
      '--admit-anew',
      'replace what members renew with, too, as after a super-peer was compromised: every member is admitted ' +
        'anew with the new secret',
      false,
    )
    .option(
      '--bootstrap <file>',
      'file to write the newest bootstrap data to, in the place of older data of this service',
    )
    .addOption(offlineOption())
    .addOption(jsonOption());
}

const openCards = (paths: readonly string[]) =>
  Promise.all(paths.map(async (path) => openCard(Uint8Array.from(await readFile(path)))));

export async function update(options: UpdateOptions, context: CliContext): Promise<void> {
  const { updateService } = await import('../../owner/service.ts');
  const { dir, remove, newEpoch, newSecret, admitAnew, bootstrap } = options;
  const { signal, output } = context;
  const add = await openCards(options.superPeer);
  const change = { add, remove, newEpoch, newSecret, admitAnew };
  const { descriptor, recovered } = await asking(options, context, (ask) =>
    updateService({ dir, ...change, ask, signal, ...(bootstrap && { bootstrapFile: bootstrap }) }),
  );
  const { name, sequence, epoch } = descriptor.value;
  if (recovered && !options.json) tellRecovered(dir, context);
  print(
    output,
    options.json,
    { name, sequence, epoch, recovered },
    (it) =>
      `${it.name}: descriptor ${sequenceText(it.sequence)}, epoch ${it.epoch}; now publish it`,
  );
}

export async function create(
  options: CreateOptions,
  overlay: boolean,
  context: CliContext,
): Promise<void> {
  const superPeers = await openCards(options.superPeer);
  const secret = options.secretFile && (await readFile(options.secretFile, 'utf8')).trimEnd();
  const { createService } = await import('../../owner/service.ts');
  const created = await createService({
    dir: options.dir,
    name: options.name,
    superPeers,
    ipv4Prefix: options.ipv4,
    credentialLifetime: options.credentialLifetime,
    ...(secret && { secret }),
    overlay,
    bootstrapFile: options.bootstrap,
    signal: context.signal,
  });
  print(context.output, options.json, summary(created, options.bootstrap), (it) =>
    [`${it.name} is ${it.serviceId}`, `bootstrap data, secret: ${it.bootstrap}`].join('\n'),
  );
}

function summary({ descriptor: { value } }: SignedService, bootstrap: string) {
  return {
    serviceId: value.serviceId.toString(),
    name: value.name,
    ipv4: formatPrefix(value.ipv4Prefix),
    ipv6: formatPrefix(ipv6Prefix(value.serviceId)),
    superPeers: value.admitters.map((each) => each.peerId.toString()),
    bootstrap,
  };
}

function publishedText(status: PublishedStatus): string {
  const { name, serviceId, epoch, policy, revokedNodes, revokedTickets, behindEpoch } = status;
  const rows = status.superPeers.map((each) => [
    each.superPeer,
    ...[each.descriptor, each.policy, each.revocations].map((held) => held ?? '-'),
    each.failure ?? '',
  ]);
  return [
    `${name} is ${serviceId}`,
    `descriptor ${sequenceText(status.descriptor)}, epoch ${epoch}`,
    policy === null ? 'no policy' : `policy ${sequenceText(policy)}`,
    `${revokedNodes} nodes and ${revokedTickets} tickets revoked`,
    ...(behindEpoch === null
      ? []
      : [`this directory is an old copy, without the secrets of epoch ${behindEpoch}`]),
    table(['super-peer', 'descriptor', 'policy', 'revocations', ''], rows),
  ].join('\n');
}

const notPublished = (dir: string): NotWholeError =>
  new NotWholeError(
    'ERR_NOT_WHOLE',
    'not every super-peer has the newest of what is signed',
    `hand it over with icvpn service publish --dir ${dir}`,
  );
