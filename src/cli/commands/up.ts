/** `icvpn up`: a VM in a service. */
import type { Command } from 'commander';
import { createLog, type Log } from '../../daemon/log.ts';
import { readBootstrap } from '../../owner/files.ts';
import type { EncapsulationPolicy } from '../../policy/grant.ts';
import { announceOption, DEFAULT_LISTEN, listenOption, subnetOption } from '../address-options.ts';
import { runDaemon } from '../daemon.ts';
import { reportProgress, startDetached } from '../detach.ts';
import {
  cacheKey,
  DEFAULT_MEMBER_STATE,
  encapsulationOption,
  jsonOption,
  keyFileOption,
  parseCount,
  parsePort,
  parseTextList,
  stateOption,
} from '../options.ts';
import { print } from '../output.ts';
import type { CliContext } from '../program.ts';
import { statusText } from '../status.ts';

interface UpOptions {
  readonly state: string;
  readonly cacheKey?: string;
  readonly bootstrap?: string;
  readonly vmid?: string;
  readonly role?: string[];
  readonly listen: string[];
  readonly announce: string[];
  readonly interface: string;
  readonly encapsulation?: EncapsulationPolicy;
  readonly udpPort?: number;
  readonly subnet: string[];
  readonly subnetInterface: string[];
  readonly saLifetime?: number;
  readonly saIdle?: number;
  readonly wait: number;
  readonly foreground: boolean;
  readonly json: boolean;
}

export function addUpCommand(program: Command, context: CliContext): void {
  program
    .command('up')
    .description('make this VM a member of a service; returns when it is one')
    .option('--bootstrap <file>', 'bootstrap data of the service; needed at the first start only')
    .addOption(stateOption(DEFAULT_MEMBER_STATE))
    .addOption(keyFileOption())
    .option('--vmid <id>', 'name of this instance; the host name when left out at the first start')
    .option('--role <role>', 'role of this VM; may be given again', parseTextList)
    .addOption(listenOption(DEFAULT_LISTEN))
    .addOption(announceOption())
    .option('--interface <name>', 'network interface to make', 'icvpn0')
    .addOption(encapsulationOption())
    .option('--udp-port <port>', 'UDP port for ESP in UDP; 4500 when left out', parsePort)
    .addOption(subnetOption())
    .option(
      '--subnet-interface <name>',
      'interface that the subnets are behind; found by their routes when left out; may be given again',
      parseTextList,
      [],
    )
    .option('--sa-lifetime <seconds>', 'longest life of an SA; an hour when left out', parseCount)
    .option(
      '--sa-idle <seconds>',
      'give the SAs of a peer up after so long without a packet; 900 when left out',
      parseCount,
    )
    .option(
      '--wait <seconds>',
      'how long a first start waits for super-peers that do not answer',
      parseCount,
      120,
    )
    .option('--foreground', 'stay in the foreground until stopped, as service managers want', false)
    .addOption(jsonOption())
    .action((options: UpOptions, command: Command) => up(options, command, context));
}

async function up(options: UpOptions, command: Command, context: CliContext): Promise<void> {
  if (!options.foreground) {
    const args = ['up', ...(command.parent?.args.slice(1) ?? [])];
    const status = await startDetached(options.state, args, {
      signal: context.signal,
      onProgress: (line) => context.output.err(`icvpn: ${line}\n`),
    });
    return print(context.output, options.json, status, statusText);
  }
  const bootstrap = options.bootstrap && (await readBootstrap(options.bootstrap));
  const progress = new StartProgress();
  const log = progress.of(createLog(context.output.err));
  await runDaemon({
    stateDir: options.state,
    purpose: 'icvpn up',
    log,
    signal: context.signal,
    waitsFor: () => progress.waitsFor,
    // Loading libp2p takes most of a second: the control socket answers before.
    start: async (signal, lock) => {
      const { Member } = await import('../../daemon/member.ts');
      return Member.start({
        stateDir: options.state,
        lock,
        ...cacheKey(options),
        ...(bootstrap && { bootstrap }),
        ...(options.vmid !== undefined && { vmid: options.vmid }),
        ...(options.role && { roles: options.role }),
        listen: options.listen,
        announce: options.announce,
        interfaceName: options.interface,
        ...(options.encapsulation && { encapsulation: options.encapsulation }),
        ...(options.udpPort && { udpPort: options.udpPort }),
        subnets: options.subnet,
        subnetInterfaces: options.subnetInterface,
        ...(options.saLifetime && { saLifetimes: { seconds: options.saLifetime } }),
        ...(options.saIdle && { saIdle: options.saIdle * 1000 }),
        patience: options.wait * 1000,
        log,
        signal,
      });
    },
    onUp: async (daemon) => print(context.output, options.json, await daemon.status(), statusText),
  });
}

/** What a start waits for, as its log tells it: for the command that started the daemon, and for `icvpn status`. */
class StartProgress {
  #waitsFor: string | undefined;

  get waitsFor(): string | undefined {
    return this.#waitsFor;
  }

  /** @returns `log`, of which this takes the progress */
  of(log: Log): Log {
    return (event, fields = {}) => {
      log(event, fields);
      if (event !== 'waiting') return;
      const { for: what, seconds, why } = fields;
      this.#waitsFor = `waiting for ${what} since ${seconds} s: ${why}`;
      reportProgress(this.#waitsFor);
    };
  }
}
