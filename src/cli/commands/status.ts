/** `icvpn status`, `members`, `down`: what is asked of a daemon that runs. */
import type { Command } from 'commander';
import { askDaemon } from '../ask.ts';
import { DEFAULT_MEMBER_STATE, jsonOption, stateOption } from '../options.ts';
import { print } from '../output.ts';
import type { CliContext } from '../program.ts';
import { membersText, statusText } from '../status.ts';

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
    (status, json) => print(context.output, json, status, statusText),
  );
  add(
    'members',
    'the VMs of the service and their public attributes, as this member may see them',
    STATUS_TIMEOUT_MS,
    (view, json) => print(context.output, json, view, membersText),
  );
  add(
    'down',
    'leave: stop the daemon and remove what it put into the kernel',
    DOWN_TIMEOUT_MS,
    (_, json) => print(context.output, json, { down: true }, () => 'down'),
  );
}
