/**
 * The `icvpn` command line: its subcommands, their options, how mistakes in them are told.
 *
 * A command is loaded only where it is called, and imports what it runs only when it runs: loading libp2p takes
 * most of a second, which `icvpn status` need not wait for.
 */
import { Command, CommanderError } from 'commander';
import { reportStart } from './detach.ts';
import { errorLine, type Output } from './output.ts';

/** What every command gets: where to write, and when to stop. */
export interface CliContext {
  readonly output: Output;
  readonly signal: AbortSignal;
}

type AddCommands = (program: Command, context: CliContext) => void;

/** The first words of command lines, and what to load for them. In the order of the help. */
const GROUPS: readonly {
  readonly words: readonly string[];
  readonly load: () => Promise<AddCommands>;
}[] = [
  {
    words: ['overlay'],
    load: async () => (await import('./commands/overlay.ts')).addOverlayCommands,
  },
  {
    words: ['service'],
    load: async () => (await import('./commands/service.ts')).addServiceCommands,
  },
  {
    words: ['super-peer'],
    load: async () => (await import('./commands/super-peer.ts')).addSuperPeerCommands,
  },
  { words: ['up'], load: async () => (await import('./commands/up.ts')).addUpCommand },
  {
    words: ['status', 'members', 'down'],
    load: async () => (await import('./commands/status.ts')).addStatusCommands,
  },
  { words: ['audit'], load: async () => (await import('./commands/audit.ts')).addAuditCommand },
  { words: ['revoke'], load: async () => (await import('./commands/revoke.ts')).addRevokeCommand },
  { words: ['policy'], load: async () => (await import('./commands/policy.ts')).addPolicyCommands },
];

export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;

/**
 * @param args without the program's name
 * @returns the exit code: 0, 1 when it failed, 2 when the command line is wrong
 */
export async function runCli(args: readonly string[], context: CliContext): Promise<number> {
  const program = new Command('icvpn')
    .description("one private, encrypted network for a service's VMs in several clouds")
    .showHelpAfterError(false);
  const called = GROUPS.filter(({ words }) => words.includes(args[0] ?? ''));
  for (const { load } of called.length > 0 ? called : GROUPS) (await load())(program, context);
  configure(program, context.output);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return usage(error, args, context.output);
    const line = errorLine(error);
    reportStart({ error: line.replace(/^icvpn: /, '').trimEnd() });
    context.output.err(line);
    return EXIT_FAILURE;
  }
}

/** Commander keeps these settings per command, and prints by itself unless told otherwise. */
function configure(command: Command, output: Output): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => output.out(text),
    writeErr: (text) => {
      // Without a subcommand commander shows the help as an error; its own error lines it gives us.
      if (!text.startsWith('error:')) output.err(text);
    },
  });
  for (const each of command.commands) configure(each, output);
}

function usage(error: CommanderError, args: readonly string[], output: Output): number {
  if (error.exitCode === 0) return 0;
  if (error.code !== 'commander.help') {
    const option = args.findIndex((each) => each.startsWith('-'));
    const words = option < 0 ? args : args.slice(0, option);
    const what = error.message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ');
    output.err(`icvpn: ${what}: see icvpn ${[...words, '--help'].join(' ')}\n`);
  }
  return EXIT_USAGE;
}
