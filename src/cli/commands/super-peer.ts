/** `icvpn super-peer`: run one, and make the card by which owners name it. */
import { writeFile } from 'node:fs/promises';
import type { Ed25519PeerId } from '@libp2p/interface';
import { type Command, Option } from 'commander';
import type { TcpMultiaddr } from '../../codec/multiaddr.ts';
import { createLog } from '../../daemon/log.ts';
import { NodeState } from '../../daemon/state.ts';
import { lockState } from '../../daemon/state-lock.ts';
import type { SuperPeerStatus } from '../../daemon/super-peer.ts';
import { IcvpnError } from '../../errors.ts';
import { readBootstrap } from '../../owner/files.ts';
import {
  addressList,
  announceOption,
  DEFAULT_LISTEN,
  listenOption,
  parsePeerIdList,
} from '../address-options.ts';
import { runDaemon } from '../daemon.ts';
import { startDetached } from '../detach.ts';
import {
  cacheKey,
  DEFAULT_SUPER_PEER_STATE,
  jsonOption,
  keyFileOption,
  stateOption,
} from '../options.ts';
import { print } from '../output.ts';
import type { CliContext } from '../program.ts';
import { statusText } from '../status.ts';

interface CardOptions {
  readonly state: string;
  readonly cacheKey?: string;
  readonly address: TcpMultiaddr[];
  readonly out: string;
  readonly json: boolean;
}

interface RunOptions {
  readonly state: string;
  readonly cacheKey?: string;
  readonly overlay: string;
  readonly listen: string[];
  readonly announce: string[];
  readonly allowService: Ed25519PeerId[];
  readonly newAdmissionStore: boolean;
  readonly detach?: boolean;
  readonly json: boolean;
}

export function addSuperPeerCommands(program: Command, context: CliContext): void {
  const superPeer = program.command('super-peer').description("a super-peer operator's commands");
  superPeer
    .command('card')
    .description('write the card by which owners name this super-peer; makes its key if need be')
    .addOption(stateOption(DEFAULT_SUPER_PEER_STATE))
    .addOption(keyFileOption())
    .requiredOption(
      '--address <multiaddr>',
      'where VMs can dial it; may be given again',
      addressList,
    )
    .requiredOption('--out <file>', 'file to write the card to')
    .addOption(jsonOption())
    .action((options: CardOptions) => card(options, context));
  superPeer
    .command('run')
    .description('run a super-peer until it is stopped')
    .addOption(stateOption(DEFAULT_SUPER_PEER_STATE))
    .addOption(keyFileOption())
    .requiredOption('--overlay <file>', 'bootstrap data of the universal overlay')
    .addOption(listenOption(DEFAULT_LISTEN))
    .addOption(announceOption())
    .option(
      '--allow-service <ServiceID>',
      'a service to serve; may be given again',
      parsePeerIdList,
      [],
    )
    .addOption(
      new Option('--detach', 'go on in the background, and return when it is up').conflicts(
        'foreground',
      ),
    )
    .option(
      '--new-admission-store',
      'begin anew where admission.db is lost: used tickets are forgotten; give it once',
      false,
    )
    .option('--foreground', 'stay in the foreground until stopped, as it does by default', false)
    .addOption(jsonOption())
    .action((options: RunOptions, command: Command) => run(options, command, context));
}

async function card(options: CardOptions, context: CliContext): Promise<void> {
  const { makeCard } = await import('../../daemon/sealing-key.ts');
  // A super-peer that runs on it has made its keys already.
  await using _ = await lockState(options.state, 'icvpn super-peer card').catch((error) => {
    if (error instanceof IcvpnError && error.code === 'ERR_ALREADY_RUNNING') return undefined;
    throw error;
  });
  await using state = await NodeState.open(options.state, cacheKey(options));
  await writeFile(options.out, await makeCard(state, options.address));
  const made = { peerId: state.peerId.toString(), addresses: options.address, card: options.out };
  print(context.output, options.json, made, (it) => `card of ${it.peerId}: ${it.card}`);
}

async function run(options: RunOptions, command: Command, context: CliContext): Promise<void> {
  if (options.detach) {
    const words = command.parent?.args.slice(1).filter((word) => word !== '--detach') ?? [];
    const status = await startDetached(options.state, ['super-peer', 'run', ...words], {
      signal: context.signal,
      onProgress: (line) => context.output.err(`icvpn: ${line}\n`),
    });
    return print(context.output, options.json, status, statusText);
  }
  const { SuperPeer } = await import('../../daemon/super-peer.ts');
  const overlay = await readBootstrap(options.overlay);
  const log = createLog(context.output.err);
  await runDaemon({
    stateDir: options.state,
    purpose: 'icvpn super-peer run',
    log,
    signal: context.signal,
    start: (signal, lock) =>
      SuperPeer.start({
        stateDir: options.state,
        lock,
        ...cacheKey(options),
        overlay,
        listen: options.listen,
        announce: options.announce,
        allowedServices: options.allowService,
        newAdmissionStore: options.newAdmissionStore,
        log,
        signal,
      }),
    onUp: (daemon) => print(context.output, options.json, daemon.status(), asText),
  });
}

const asText = (status: SuperPeerStatus): string =>
  `super-peer ${status.peerId} of ${status.overlay.name} at ${status.multiaddrs.join(' ')}`;
