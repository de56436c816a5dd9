/** `icvpn service`: what a service's owner does. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { formatPrefix, type Prefix } from '../../codec/ip.ts';
import type { Publication } from '../../daemon/publish.ts';
import { writeBootstrap } from '../../owner/files.ts';
import type { CreatedService } from '../../owner/service.ts';
import { openCard } from '../../records/super-peer-card.ts';
import { ipv6Prefix } from '../../records/virtual-address.ts';
import { cardsOption, jsonOption, parseCount, parsePrefixArgument } from '../options.ts';
import { print } from '../output.ts';
import type { CliContext } from '../program.ts';

const DAY_SECONDS = 86_400;

const publicationText = ({ superPeer, failure }: Publication): string =>
  failure === null ? `published at ${superPeer}` : `not published at ${superPeer}: ${failure}`;

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
  service
    .command('publish')
    .description("hand the service's descriptor to its super-peers")
    .requiredOption('--dir <dir>', 'directory that the service was created with')
    .addOption(jsonOption())
    .action(async (options: { dir: string; json: boolean }) => {
      const { publishService } = await import('../../daemon/publish.ts');
      const results = await publishService(options.dir, { signal: context.signal });
      print(context.output, options.json, results, (all) => all.map(publicationText).join('\n'));
    });
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

export async function create(
  options: CreateOptions,
  descriptorInBootstrap: boolean,
  context: CliContext,
): Promise<void> {
  const superPeers = await Promise.all(
    options.superPeer.map(async (path) => openCard(await readFile(path))),
  );
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

function summary({ descriptor: { value } }: CreatedService, bootstrap: string) {
  return {
    serviceId: value.serviceId.toString(),
    name: value.name,
    ipv4: formatPrefix(value.ipv4Prefix),
    ipv6: formatPrefix(ipv6Prefix(value.serviceId)),
    superPeers: value.admitters.map((each) => each.peerId.toString()),
    bootstrap,
  };
}
