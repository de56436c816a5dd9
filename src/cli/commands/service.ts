/** `icvpn service`: what a service's owner does. */
import { readFile } from 'node:fs/promises';
import type { Ed25519PeerId } from '@libp2p/interface';
import type { Command } from 'commander';
import { formatPrefix, type Prefix } from '../../codec/ip.ts';
import type { Publication } from '../../daemon/publish.ts';
import { writeBootstrap } from '../../owner/files.ts';
import type { SignedService } from '../../owner/service.ts';
import { openCard } from '../../records/super-peer-card.ts';
import { ipv6Prefix } from '../../records/virtual-address.ts';
import { parsePeerIdList, parsePeerIdText, parsePrefixArgument } from '../address-options.ts';
import {
  cardsOption,
  jsonOption,
  parseCount,
  parseTextList,
  serviceDirOption,
} from '../options.ts';
import { print } from '../output.ts';
import type { CliContext } from '../program.ts';

const DAY_SECONDS = 86_400;

interface OwnerOptions {
  readonly dir: string;
  readonly json: boolean;
}

interface UpdateOptions extends OwnerOptions {
  readonly superPeer: string[];
  readonly remove: Ed25519PeerId[];
  readonly newEpoch: boolean;
  readonly newSecret: boolean;
  readonly bootstrap?: string;
}

interface TicketOptions extends OwnerOptions {
  readonly bootstrap: string;
  readonly superPeer?: Ed25519PeerId;
  readonly valid: number;
  readonly vmid?: string;
  readonly role: string[];
}

export const publicationsText = (all: readonly Publication[]): string =>
  all
    .map(({ superPeer, failure }) =>
      failure === null ? `published at ${superPeer}` : `not published at ${superPeer}: ${failure}`,
    )
    .join('\n');

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
  addCreateOptions(service.command('create'), '100.64.0.0/16')
    .description('make a service: its key, its secret, its descriptor, its bootstrap data')
    .action((options: CreateOptions) => create(options, false, context));
  addUpdateOptions(service.command('update'))
    .description('sign a newer descriptor: other super-peers, a new epoch; publish it afterwards')
    .action((options: UpdateOptions) => update(options, false, context));
  addPublishCommand(service, context);
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
}

export function addPublishCommand(parent: Command, context: CliContext): void {
  parent
    .command('publish')
    .description(
      'hand the newest descriptor, policy and revocations to the super-peers that it names',
    )
    .addOption(serviceDirOption())
    .addOption(jsonOption())
    .action((options: OwnerOptions) => publish(options, context));
}

async function publish(options: OwnerOptions, context: CliContext): Promise<void> {
  const { readDescriptor } = await import('../../owner/directory.ts');
  const { publishAtAll } = await import('../../daemon/publish.ts');
  const { readSignedPolicy } = await import('../../owner/policy.ts');
  const { readSignedRevocations } = await import('../../owner/revocation.ts');
  const { DESCRIPTOR_RECORD, POLICY_RECORD, REVOCATION_RECORD } = await import(
    '../../overlay/stored-kinds.ts'
  );
  const { value, bytes } = await readDescriptor(options.dir);
  const { signal } = context;
  const results = await publishAtAll(value, DESCRIPTOR_RECORD, bytes, { signal });
  // A super-peer that is new must not let in who is out, nor tell its first member that there is no policy.
  const revocations = await readSignedRevocations(options.dir);
  if (revocations) await publishAtAll(value, REVOCATION_RECORD, revocations.bytes, { signal });
  const policy = await readSignedPolicy(options.dir);
  if (policy) await publishAtAll(value, POLICY_RECORD, policy.bytes, { signal });
  print(context.output, options.json, results, publicationsText);
}

async function ticket(options: TicketOptions, context: CliContext): Promise<void> {
  const { createTicket } = await import('../../owner/ticket.ts');
  const bootstrap = await createTicket({
    dir: options.dir,
    validFor: options.valid,
    roles: options.role,
    ...(options.superPeer && { superPeer: options.superPeer }),
    ...(options.vmid && { vmid: options.vmid }),
  });
  await writeBootstrap(options.bootstrap, bootstrap);
  print(
    context.output,
    options.json,
    { bootstrap: options.bootstrap },
    (it) => `bootstrap data for one VM, secret: ${it.bootstrap}`,
  );
}

/** The options that creating a service and creating an overlay share. */
export function addCreateOptions(command: Command, ipv4: string): Command {
  return command
    .requiredOption('--name <name>', 'name, for people')
    .requiredOption('--dir <dir>', "directory for the owner's key and secrets; keep it safe")
    .requiredOption('--bootstrap <file>', 'file to write the bootstrap data to')
    .addOption(cardsOption())
    .option(
      '--ipv4 <prefix>',
      'virtual IPv4 addresses',
      parsePrefixArgument,
      parsePrefixArgument(ipv4),
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
    .option('--bootstrap <file>', 'file to write the newest bootstrap data to')
    .addOption(jsonOption());
}

const openCards = (paths: readonly string[]) =>
  Promise.all(paths.map(async (path) => openCard(Uint8Array.from(await readFile(path)))));

export async function update(
  options: UpdateOptions,
  descriptorInBootstrap: boolean,
  context: CliContext,
): Promise<void> {
  const { updateService } = await import('../../owner/service.ts');
  const { descriptor, bootstrap } = await updateService({
    dir: options.dir,
    add: await openCards(options.superPeer),
    remove: options.remove,
    newEpoch: options.newEpoch,
    newSecret: options.newSecret,
    descriptorInBootstrap,
    signal: context.signal,
  });
  if (options.bootstrap) await writeBootstrap(options.bootstrap, bootstrap);
  const { name, sequence, epoch } = descriptor.value;
  print(
    context.output,
    options.json,
    { name, sequence, epoch },
    (it) => `${it.name}: descriptor ${it.sequence}, epoch ${it.epoch}; now publish it`,
  );
}

export async function create(
  options: CreateOptions,
  descriptorInBootstrap: boolean,
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
    descriptorInBootstrap,
    signal: context.signal,
  });
  await writeBootstrap(options.bootstrap, created.bootstrap);
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
