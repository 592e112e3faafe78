/**
 * `fluxmq raft inspect`: what it takes. What reads the files is loaded when it is called, so that
 * help and completion need not wait for it.
 */

import { Command, Option } from 'commander';
import { sequenceNumber } from './client-options.ts';
import type { InspectFlags } from './raft/inspect.ts';

export function raftCommand(): Command {
  const inspect = new Command('inspect')
    .description('Tell the state of stopped replicas; exit status 1 on damage.')
    .argument('<dir>', 'the data directory of a broker (data_dir)')
    .addOption(new Option('--shard <number>', 'of this one alone').argParser(sequenceNumber))
    .option('--json', 'for programs: one JSON object for each shard')
    .action(async (directory: string, flags: InspectFlags) => {
      const { inspect: tell } = await import('./raft/inspect.ts');
      await tell(directory, flags);
    });
  return new Command('raft').description('Look at the replicas of a broker.').addCommand(inspect);
}
