/**
 * `fluxmq cluster add`, `remove`, `replace` and `transfer`: who is part of the cluster, and who
 * leads. Given at the leader of the shard; each step is shown, and any of them may be interrupted
 * and given again.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'commander';
import type { ClusterAdmin, ReplicaStatus } from '../../admin/cluster-port.ts';
import { readSpan, sequenceNumber } from '../client-options.ts';
import { visible } from '../text/columns.ts';
import { several } from '../text/units.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './broker.ts';
import { ClusterSteps, type Step } from './cluster-steps.ts';
import { type ConfirmFlags, confirm } from './confirm.ts';
import { print } from './screen.ts';
import { jsonLine } from './told.ts';

interface StepFlags extends BrokerFlags {
  readonly shard: number;
  readonly within: number;
}

interface AddFlags extends StepFlags {
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
  return addBrokerOptions(new Command(name))
    .addOption(new Option('--shard <number>', 'of this shard').argParser(sequenceNumber).default(0))
    .addOption(
      new Option('--within <duration>', 'give up after so long; what was begun goes on')
        .argParser(readSpan)
        .default(within.ms, within.told),
    );
}

export function addCommand(): Command {
  return stepCommand('add', { ms: CATCH_UP_MS, told: '1h' })
    .description('Add a node: it learns what the others have, and then votes.')
    .argument('<node>', 'its id, as its own cluster status has it')
    .argument('<address>', 'where the others reach it: its cluster.listen, with a host')
    .option('--learner', 'it keeps a copy, and never votes')
    .action((node: string, address: string, flags: AddFlags) =>
      inSteps(flags, (steps) => steps.add(node, address, flags.learner !== true)),
    );
}

export function removeCommand(): Command {
  return stepCommand('remove', { ms: CHANGE_MS, told: '30s' })
    .description('Remove a node, which keeps its files and takes part no more.')
    .argument('<node>', 'its id, as cluster status has it')
    .option('-y, --yes', 'do not ask')
    .action((node: string, flags: StepFlags & ConfirmFlags) =>
      inSteps(flags, async (steps) => {
        const view = await steps.look();
        await confirm(
          flags,
          `Remove ${visible(node)} from shard ${flags.shard}? ${left(view, node)}`,
        );
        await steps.remove(node);
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
      inSteps(flags, async (steps) => {
        const question = `Replace ${visible(old)} by ${visible(node)} in shard ${flags.shard}?`;
        await confirm(flags, question);
        await steps.add(node, address, true);
        await steps.remove(old);
      }),
    );
}

export function transferCommand(): Command {
  return stepCommand('transfer', { ms: CHANGE_MS, told: '30s' })
    .description('Make another node the leader; clients do not notice.')
    .argument('<node>', 'the one that is to lead')
    .action((node: string, flags: StepFlags) => inSteps(flags, (steps) => steps.transfer(node)));
}

function left({ members }: ReplicaStatus, gone: string): string {
  const voters = members.filter(({ id, role }) => role === 'voter' && id !== gone).length;
  const needed = Math.floor(voters / 2) + 1;
  return `${several(voters, 'voter')} would be left, of which ${needed} must answer.`;
}

function inSteps(flags: StepFlags, work: (steps: ClusterSteps) => Promise<void>): Promise<void> {
  const end = performance.now() + flags.within;
  return withBroker(flags, ({ cluster }) => work(newSteps(cluster, flags, end)));
}

function newSteps(cluster: ClusterAdmin, { shard, json }: StepFlags, end: number): ClusterSteps {
  const say = ({ step, node, text, fields }: Step): Promise<void> =>
    print([
      json === true
        ? jsonLine({ step, shard, node, ...fields })
        : `shard ${shard}, ${visible(node)}: ${text}`,
    ]);
  const isOver = (): boolean => performance.now() > end;
  return new ClusterSteps({ cluster, shard, say, pause: () => sleep(LOOK_MS), isOver });
}
