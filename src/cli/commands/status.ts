/** `icvpn status`, `members`, `down`: what is asked of a daemon that runs. */
import type { Command } from 'commander';
import { ControlError } from '../../daemon/control.ts';
import type { GuardLeft } from '../../ipsec/dataplane.ts';
import { askDaemon } from '../ask.ts';
import { KEEP_GUARD } from '../daemon.ts';
import { DEFAULT_MEMBER_STATE, jsonOption, stateOption } from '../options.ts';
import { print } from '../output.ts';
import type { CliContext } from '../program.ts';
import { assertMember, membersText, statusText } from '../status.ts';

const STATUS_TIMEOUT_MS = 10_000;
const DOWN_TIMEOUT_MS = 60_000;

interface StatusOptions {
  readonly state: string;
  readonly json: boolean;
}

export function addStatusCommands(program: Command, context: CliContext): void {
  /** @param show takes what the daemon answered */
  const add = (
    command: string,
    description: string,
    timeoutMs: number,
    show: (answer: unknown, json: boolean) => void,
  ): void => {
    program
      .command(command)
      .description(description)
      .addOption(stateOption(DEFAULT_MEMBER_STATE))
      .addOption(jsonOption())
      .action(async ({ state, json }: StatusOptions) => {
        show(await askDaemon({ state, command, timeoutMs }, context), json);
      });
  };
  add(
    'status',
    'what the daemon of a state directory is and does',
    STATUS_TIMEOUT_MS,
    (status, json) => {
      print(context.output, json, status, statusText);
      assertMember(status);
    },
  );
  add(
    'members',
    'the VMs of the service and their public attributes, as this member may see them',
    STATUS_TIMEOUT_MS,
    (view, json) => print(context.output, json, view, membersText),
  );
  program
    .command('down')
    .description(
      'leave: stop the daemon and remove what it, or one that was killed, put into the kernel',
    )
    .addOption(stateOption(DEFAULT_MEMBER_STATE))
    .option(
      '--keep-guard',
      "go on refusing packets to and from the service's addresses, until the next up or down",
      false,
    )
    .addOption(jsonOption())
    .action(async ({ state, json, keepGuard }: DownOptions) => {
      const guard = await leave(state, keepGuard, context);
      print(context.output, json, { down: true, guard }, () => downText(guard));
    });
}

interface DownOptions extends StatusOptions {
  readonly keepGuard: boolean;
}

/** @returns what was left in the kernel; null for a daemon that leaves nothing */
async function leave(
  state: string,
  keepGuard: boolean,
  context: CliContext,
): Promise<GuardLeft | null> {
  const question = { state, command: 'down', timeoutMs: DOWN_TIMEOUT_MS };
  try {
    const left = await askDaemon(
      { ...question, ...(keepGuard && { argument: KEEP_GUARD }) },
      context,
    );
    return isGuardLeft(left) ? left : null;
  } catch (error) {
    if (!(error instanceof ControlError) || error.code !== 'ERR_NOT_RUNNING') throw error;
    const { takeAwayLeft } = await import('../../daemon/member/kernel-place.ts');
    const left = keepGuard ? undefined : await takeAwayLeft(state);
    if (left === undefined) throw error;
    return left;
  }
}

const isGuardLeft = (value: unknown): value is GuardLeft =>
  typeof value === 'object' && value !== null && 'kept' in value && 'sockets' in value;

function downText(guard: GuardLeft | null): string {
  if (!guard?.kept) return 'down';
  const why =
    guard.sockets > 0
      ? `${guard.sockets} sockets still have the virtual IPv6 address and would send in clear: end those programs, then run icvpn down again`
      : 'as asked; icvpn down takes it away';
  return `down; the guard stays: ${why}`;
}
