/** `fluxmq queue`: what operators do to the queues of a running broker. */

import { Command } from 'commander';
import { declareCommand } from './operator/declare.ts';
import { listCommand } from './operator/list.ts';
import { moveCommand, seekCommand } from './operator/move.ts';
import { peekCommand } from './operator/peek.ts';
import { deleteCommand, purgeCommand } from './operator/remove.ts';
import { showCommand } from './operator/show.ts';

export function queueCommand(): Command {
  const command = new Command('queue').description('Look at and change queues of a broker.');
  const children = [
    listCommand,
    showCommand,
    declareCommand,
    deleteCommand,
    purgeCommand,
    peekCommand,
    moveCommand,
    seekCommand,
  ];
  for (const child of children) command.addCommand(child());
  return command;
}
