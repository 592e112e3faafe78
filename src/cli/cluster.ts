/** `fluxmq cluster`: the nodes of a cluster, what they hold, and who of them votes and leads. */

import { Command } from 'commander';
import { rescueCommand } from './operator/cluster-rescue.ts';
import { statusCommand } from './operator/cluster-status.ts';
import {
  addCommand,
  addShardCommand,
  removeCommand,
  replaceCommand,
  transferCommand,
} from './operator/cluster-members.ts';

export function clusterCommand(): Command {
  const command = new Command('cluster').description('Look at and change a cluster of brokers.');
  const children = [
    statusCommand,
    addCommand,
    removeCommand,
    replaceCommand,
    transferCommand,
    rescueCommand,
    addShardCommand,
  ];
  for (const child of children) command.addCommand(child());
  return command;
}
