/**
 * The `icvpn` command line: its subcommands, their options, how mistakes in them are told.
 *
 * A command is loaded only where it is called, and imports what it runs only when it runs: loading libp2p takes
 * most of a second, which `icvpn status` need not wait for.
 */
import { Command, CommanderError, type Option } from 'commander';
import { reportStart } from './detach.ts';
import { errorJson, errorLine, type Output } from './output.ts';
import { version } from './version.ts';

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
/** What was signed is kept, and some super-peer has not taken it. */
export const EXIT_NOT_WHOLE = 3;
/** This VM was thrown out of its service. */
export const EXIT_REVOKED = 4;

/**
 * @param args without the program's name
 * @returns the exit code: 0, 1 when it failed, 2 when the command line is wrong, 3 when it succeeded in part,
 * 4 when this VM was revoked
 */
export async function runCli(args: readonly string[], context: CliContext): Promise<number> {
  const program = await makeProgram(context, args[0]);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return usage(error, args, context.output);
    const line = errorLine(error);
    const code = codeOf(error);
    const told = line.replace(/^icvpn: /, '').trimEnd();
    reportStart({ error: told, code: typeof code === 'string' ? code : 'ERR_DAEMON_START' });
    context.output.err(args.includes('--json') ? errorJson(error) : line);
    if (code === 'ERR_REVOKED') return EXIT_REVOKED;
    return code === 'ERR_NOT_WHOLE' ? EXIT_NOT_WHOLE : EXIT_FAILURE;
  }
}

/** @param word of the command line, which names the group of commands that is wanted; all when it names none */
export async function makeProgram(context: CliContext, word = ''): Promise<Command> {
  const program = new Command('icvpn')
    .description("one private, encrypted network for a service's VMs in several clouds")
    .version(await version(), '--version', 'print the version')
    .showHelpAfterError(false);
  const called = GROUPS.filter(({ words }) => words.includes(word));
  for (const { load } of called.length > 0 ? called : GROUPS) (await load())(program, context);
  configure(program, context.output);
  return program;
}

/** Commander keeps these settings per command, and prints by itself unless told otherwise. */
function configure(command: Command, output: Output): void {
  command
    .exitOverride()
    .configureHelp({ optionDescription })
    .configureOutput({
      writeOut: (text) => output.out(text),
      writeErr: (text) => {
        // Without a subcommand commander shows the help as an error; its own error lines it gives us.
        if (!text.startsWith('error:')) output.err(text);
      },
    });
  for (const each of command.commands) configure(each, output);
}

/** With choices, and the default where the option takes it as printed: commander prints `[]` and `false` too. */
function optionDescription(option: Option): string {
  const values = [option.defaultValueDescription ?? option.defaultValue].flat();
  const texts = values.filter((each) => ['string', 'number'].includes(typeof each));
  const facts = [
    ...(option.argChoices ? [`one of ${option.argChoices.join(', ')}`] : []),
    ...(texts.length > 0 ? [`default: ${texts.join(' and ')}`] : []),
  ];
  return facts.length === 0 ? option.description : `${option.description} (${facts.join('; ')})`;
}

function usage(error: CommanderError, args: readonly string[], output: Output): number {
  if (error.exitCode === 0) return 0;
  if (error.code !== 'commander.help') {
    const what = error.message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ');
    const remedy = `see icvpn ${[...knownWords(error, args), '--help'].join(' ')}`;
    const { code } = error;
    const json = `${JSON.stringify({ error: { code, message: what, remedy } })}\n`;
    output.err(args.includes('--json') ? json : `icvpn: ${what}: ${remedy}\n`);
  }
  return EXIT_USAGE;
}

/** The words of a command line that name commands; what is not known has no help. */
function knownWords({ code, message }: CommanderError, args: readonly string[]): readonly string[] {
  const option = args.findIndex((each) => each.startsWith('-'));
  const words = option < 0 ? args : args.slice(0, option);
  if (code !== 'commander.unknownCommand') return words;
  const unknown = words.findIndex((each) => message.includes(`'${each}'`));
  return unknown < 0 ? words : words.slice(0, unknown);
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined;
