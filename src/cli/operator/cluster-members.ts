/**
 * `fluxmq cluster add`, `remove`, `replace`, `transfer` and `add-shard`: who is part of the cluster
 * and of its shards, and who leads. Given at any member; each step is shown, and any of them may be
 * interrupted and given again.
 *
 * Shard 0 is on every node, and its members are changed by name. In the others a node is a host or
 * not; its replica follows by itself.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'commander';
import type { NodeStatus } from '../../admin/cluster-port.ts';
import { nodeOf } from '../../cluster/server-id.ts';
import { readSpan, sequenceNumber } from '../client-options.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { visible } from '../text/columns.ts';
import { several } from '../text/units.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './broker.ts';
import { ClusterChanges } from './cluster-changes.ts';
import { type ConfirmFlags, confirm } from './confirm.ts';
import { print } from './screen.ts';
import type { Step } from './step-talk.ts';
import { jsonLine } from './told.ts';

interface StepFlags extends BrokerFlags {
  readonly within: number;
}

interface ShardFlags extends StepFlags {
  /** Undefined: of all that it concerns. */
  readonly shard?: number;
}

interface AddFlags extends ShardFlags {
  readonly learner?: boolean;
}

type ReplaceWords = [old: string, node: string, address: string, StepFlags & ConfirmFlags];

const LOOK_MS = 200;
const CATCH_UP_MS = 3_600_000;
const CHANGE_MS = 30_000;

function stepCommand(
  name: string,
  within: { readonly ms: number; readonly told: string },
): Command {
  return addBrokerOptions(new Command(name)).addOption(
    new Option('--within <duration>', 'give up after so long; what was begun goes on')
      .argParser(readSpan)
      .default(within.ms, within.told),
  );
}

function shardOption(words: string): Option {
  return new Option('--shard <number>', words).argParser(sequenceNumber);
}

export function addCommand(): Command {
  return stepCommand('add', { ms: CATCH_UP_MS, told: '1h' })
    .description('Add a node: it learns what the others have, and then votes.')
    .argument('<node>', 'its id, as its own cluster status has it')
    .argument('<address>', 'where the others reach it: its cluster.listen, with a host')
    .option('--learner', 'it keeps a copy of shard 0, and never votes')
    .addOption(shardOption('a replica of this shard too, for a node that is there'))
    .action((node: string, address: string, flags: AddFlags) => {
      if (flags.learner === true && (flags.shard ?? 0) !== 0) {
        throw new CliError(
          ExitCode.usage,
          '--learner is of shard 0: in the others every host votes',
        );
      }
      return inSteps(flags, (changes) => changes.add(node, address, flags));
    });
}

export function removeCommand(): Command {
  return stepCommand('remove', { ms: CATCH_UP_MS, told: '1h' })
    .description('Remove a node, which keeps its files and takes part no more.')
    .argument('<node>', 'its id, as cluster status has it')
    .addOption(shardOption('only of this shard; of 0 where it has no replica of another one'))
    .option('-y, --yes', 'do not ask')
    .action((node: string, flags: ShardFlags & ConfirmFlags) =>
      inSteps(flags, async (changes) => {
        const status = await changes.status();
        await confirm(flags, `Remove ${visible(node)}? ${left(status, node)}`);
        await changes.remove(node, flags.shard);
      }),
    );
}

export function replaceCommand(): Command {
  return stepCommand('replace', { ms: CATCH_UP_MS, told: '1h' })
    .description('Add a node, and when it votes remove the one that it replaces.')
    .argument('<old>', 'the node that goes')
    .argument('<node>', 'the id of the one that comes, as its own cluster status has it')
    .argument('<address>', 'where the others reach it')
    .option('-y, --yes', 'do not ask')
    .action((...[old, node, address, flags]: ReplaceWords) =>
      inSteps(flags, async (changes) => {
        await confirm(flags, `Replace ${visible(old)} by ${visible(node)}?`);
        await changes.replace(old, node, address);
      }),
    );
}

export function transferCommand(): Command {
  return stepCommand('transfer', { ms: CHANGE_MS, told: '30s' })
    .description('Make another node the leader; clients do not notice.')
    .argument('<node>', 'the one that is to lead')
    .addOption(shardOption('of this shard').default(0))
    .action((node: string, flags: ShardFlags) =>
      inSteps(flags, (changes) => changes.stepsOf(flags.shard ?? 0).transfer(node)),
    );
}

export function addShardCommand(): Command {
  return stepCommand('add-shard', { ms: CHANGE_MS, told: '30s' })
    .description('Make one more shard, to which new queues go.')
    .argument('<number>', 'the next one; one that is there is left as it is', sequenceNumber)
    .action((shard: number, flags: StepFlags) =>
      inSteps(flags, (changes) => changes.hosting(shard).make()),
    );
}

function left({ replicas, shards }: NodeStatus, gone: string): string {
  const members = replicas.find(({ shard }) => shard === 0)?.members ?? [];
  const voters = members.filter(({ id, role }) => role === 'voter' && id !== gone).length;
  const needed = Math.floor(voters / 2) + 1;
  const hosted = shards.filter(({ hosts }) => hosts.includes(nodeOf(gone))).length;
  const more = hosted === 0 ? '' : ` It has replicas of ${several(hosted, 'more shard')}.`;
  return `${several(voters, 'voter')} would be left, of which ${needed} must answer.${more}`;
}

function inSteps(
  flags: StepFlags,
  work: (changes: ClusterChanges) => Promise<void>,
): Promise<void> {
  const end = performance.now() + flags.within;
  const say = (shard: number, { step, node, text, fields }: Step): Promise<void> =>
    print([
      flags.json === true
        ? jsonLine({ step, shard, node, ...fields })
        : `shard ${shard}, ${visible(node)}: ${text}`,
    ]);
  const how = { say, pause: () => sleep(LOOK_MS), isOver: () => performance.now() > end };
  return withBroker(flags, ({ cluster }) => work(new ClusterChanges({ cluster, ...how })));
}
