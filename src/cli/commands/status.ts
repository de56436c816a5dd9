/** `icvpn status`, `members`, `down`: what is asked of a daemon that runs. */
import type { Command } from 'commander';
import { controlRequest } from '../../daemon/control.ts';
import { DEFAULT_MEMBER_STATE, jsonOption, stateOption } from '../options.ts';
import { print } from '../output.ts';
import type { CliContext } from '../program.ts';
import { membersText, statusText } from '../status.ts';

const STATUS_TIMEOUT_MS = 10_000;
const DOWN_TIMEOUT_MS = 60_000;

export function addStatusCommands(program: Command, context: CliContext): void {
  program
    .command('status')
    .description('what the daemon of a state directory is and does')
    .addOption(stateOption(DEFAULT_MEMBER_STATE))
    .addOption(jsonOption())
    .action(async (options: { state: string; json: boolean }) => {
      const status = await request(options.state, 'status', STATUS_TIMEOUT_MS, context);
      print(context.output, options.json, status, statusText);
    });
  program
    .command('members')
    .description('the VMs of the service and their public attributes, as this member may see them')
    .addOption(stateOption(DEFAULT_MEMBER_STATE))
    .addOption(jsonOption())
    .action(async (options: { state: string; json: boolean }) => {
      const view = await request(options.state, 'members', STATUS_TIMEOUT_MS, context);
      print(context.output, options.json, view, membersText);
    });
  program
    .command('down')
    .description('leave: stop the daemon and remove what it put into the kernel')
    .addOption(stateOption(DEFAULT_MEMBER_STATE))
    .addOption(jsonOption())
    .action(async (options: { state: string; json: boolean }) => {
      await request(options.state, 'down', DOWN_TIMEOUT_MS, context);
      print(context.output, options.json, { down: true }, () => 'down');
    });
}

function request(state: string, command: string, timeoutMs: number, context: CliContext) {
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(timeoutMs)]);
  return controlRequest(state, command, { signal });
}
