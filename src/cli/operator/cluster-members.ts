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
import type { ClusterAdmin, NodeStatus, ShardPlace } from '../../admin/cluster-port.ts';
import { nodeOf } from '../../cluster/server-id.ts';
import { readSpan, sequenceNumber } from '../client-options.ts';
import { visible } from '../text/columns.ts';
import { several } from '../text/units.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './broker.ts';
import { ClusterSteps } from './cluster-steps.ts';
import { type ConfirmFlags, confirm } from './confirm.ts';
import { print } from './screen.ts';
import { ShardHosting } from './shard-hosting.ts';
import type { Step, StepsOptions } from './step-talk.ts';
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
    .action((node: string, address: string, flags: AddFlags) =>
      inSteps(flags, async (work) => {
        const { shard, learner } = flags;
        if ((shard ?? 0) === 0) await work.members.add(node, address, learner !== true);
        if (learner === true || shard === 0) return;
        for (const place of await work.places()) {
          const isMeant = shard === undefined ? isShort(place, node) : place.shard === shard;
          if (isMeant) await work.hosting(place.shard).host(nodeOf(node));
        }
      }),
    );
}

export function removeCommand(): Command {
  return stepCommand('remove', { ms: CATCH_UP_MS, told: '1h' })
    .description('Remove a node, which keeps its files and takes part no more.')
    .argument('<node>', 'its id, as cluster status has it')
    .addOption(shardOption('only of this shard'))
    .option('-y, --yes', 'do not ask')
    .action((node: string, flags: ShardFlags & ConfirmFlags) =>
      inSteps(flags, async (work) => {
        const status = await work.status();
        await confirm(flags, `Remove ${visible(node)}? ${left(status, node)}`);
        for (const { shard } of await work.hostedBy(node, flags.shard)) {
          await work.hosting(shard).unhost(nodeOf(node));
        }
        if ((flags.shard ?? 0) === 0) await work.members.remove(node);
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
      inSteps(flags, async (work) => {
        await confirm(flags, `Replace ${visible(old)} by ${visible(node)}?`);
        await work.members.add(node, address, true);
        await work.members.remove(old);
        for (const { shard, hosts } of await work.places()) {
          if (!hosts.includes(nodeOf(old))) continue;
          await work.hosting(shard).host(nodeOf(node));
          if (nodeOf(old) !== nodeOf(node)) await work.hosting(shard).unhost(nodeOf(old));
        }
      }),
    );
}

export function transferCommand(): Command {
  return stepCommand('transfer', { ms: CHANGE_MS, told: '30s' })
    .description('Make another node the leader; clients do not notice.')
    .argument('<node>', 'the one that is to lead')
    .addOption(shardOption('of this shard').default(0))
    .action((node: string, flags: ShardFlags) =>
      inSteps(flags, (work) => work.stepsOf(flags.shard ?? 0).transfer(node)),
    );
}

export function addShardCommand(): Command {
  return stepCommand('add-shard', { ms: CHANGE_MS, told: '30s' })
    .description('Make one more shard, to which new queues go.')
    .argument('<number>', 'the next one; one that is there is left as it is', sequenceNumber)
    .action((shard: number, flags: StepFlags) =>
      inSteps(flags, (work) => work.hosting(shard).make()),
    );
}

/** It has lost a host. */
function isShort({ hosts, founders }: ShardPlace, node: string): boolean {
  return hosts.length < founders.length || hosts.includes(nodeOf(node));
}

function left({ replicas, shards }: NodeStatus, gone: string): string {
  const members = replicas.find(({ shard }) => shard === 0)?.members ?? [];
  const voters = members.filter(({ id, role }) => role === 'voter' && id !== gone).length;
  const needed = Math.floor(voters / 2) + 1;
  const hosted = shards.filter(({ hosts }) => hosts.includes(nodeOf(gone))).length;
  const more = hosted === 0 ? '' : ` It has replicas of ${several(hosted, 'more shard')}.`;
  return `${several(voters, 'voter')} would be left, of which ${needed} must answer.${more}`;
}

/** What the commands work with. */
class Work {
  readonly #cluster: ClusterAdmin;
  readonly #flags: StepFlags;
  readonly #end: number;

  constructor(cluster: ClusterAdmin, flags: StepFlags) {
    this.#cluster = cluster;
    this.#flags = flags;
    this.#end = performance.now() + flags.within;
  }

  /** Of shard 0, and so of the cluster. */
  get members(): ClusterSteps {
    return this.stepsOf(0);
  }

  stepsOf(shard: number): ClusterSteps {
    return new ClusterSteps(this.#options(shard));
  }

  hosting(shard: number): ShardHosting {
    return new ShardHosting(this.#options(shard));
  }

  status(): Promise<NodeStatus> {
    return this.#cluster.status();
  }

  async places(): Promise<readonly ShardPlace[]> {
    return (await this.status()).shards;
  }

  /** Shards that lose a host with this member: another replica of its node may have taken over. */
  async hostedBy(id: string, only: number | undefined): Promise<readonly ShardPlace[]> {
    const { replicas, shards } = await this.status();
    const members = replicas.find(({ shard }) => shard === 0)?.members ?? [];
    const isReplaced = members.some((other) => other.id !== id && nodeOf(other.id) === nodeOf(id));
    return shards.filter(({ shard, hosts }) => {
      return !isReplaced && hosts.includes(nodeOf(id)) && (only === undefined || shard === only);
    });
  }

  #options(shard: number): StepsOptions {
    const say = ({ step, node, text, fields }: Step): Promise<void> =>
      print([
        this.#flags.json === true
          ? jsonLine({ step, shard, node, ...fields })
          : `shard ${shard}, ${visible(node)}: ${text}`,
      ]);
    const isOver = (): boolean => performance.now() > this.#end;
    return { cluster: this.#cluster, shard, say, pause: () => sleep(LOOK_MS), isOver };
  }
}

function inSteps(flags: StepFlags, work: (work: Work) => Promise<void>): Promise<void> {
  return withBroker(flags, ({ cluster }) => work(new Work(cluster, flags)));
}
