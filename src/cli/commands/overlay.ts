/** `icvpn overlay`: what the operator of a universal overlay does. */
import type { Command } from 'commander';
import type { CliContext } from '../program.ts';
import {
  addCreateOptions,
  addPublishCommands,
  addUpdateOptions,
  create,
  update,
} from './service.ts';

export function addOverlayCommands(program: Command, context: CliContext): void {
  const overlay = program.command('overlay').description("an overlay operator's commands");
  addCreateOptions(overlay.command('create'), '100.127.0.0/16')
    .description('make a universal overlay, whose first super-peers are named by their cards')
    .action((options: Parameters<typeof create>[0]) => create(options, true, context));
  addUpdateOptions(overlay.command('update'))
    .description('sign a newer descriptor: other first super-peers, a new epoch')
    .action((options: Parameters<typeof update>[0]) => update(options, context));
  addPublishCommands(overlay, context);
}
