/**
 * `fluxmq cluster rescue`: a shard that has lost the majority of its nodes for good goes on with
 * the one that is asked. What only the others had is lost, so nothing is done without their names
 * and an explicit word; without those it shows what is known, and with which command it would be
 * done. The node itself refuses while a majority is heard; this command decides nothing.
 */

import { hostname, userInfo } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'commander';
import type {
  ClusterAdmin,
  ReplicaStatus,
  RescueRecord,
  ShardPlace,
  SurvivorStatus,
} from '../../admin/cluster-port.ts';
import { nodeOf } from '../../cluster/server-id.ts';
import { collect, readSpan, sequenceNumber } from '../client-options.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { visible } from '../text/columns.ts';
import { type BrokerFlags, addBrokerOptions, withBroker } from './broker.ts';
import { CLUSTER_REFUSED } from './cluster-refusals.ts';
import { print } from './screen.ts';
import { jsonLine, rescueFields } from './told.ts';

interface RescueFlags extends BrokerFlags {
  readonly shard: number;
  readonly within: number;
  readonly giveUp?: readonly string[];
  readonly evenIfShorter?: boolean;
  readonly iAcceptLoss?: boolean;
}

const LOOK_MS = 200;
const WITHIN_MS = 60_000;

export function rescueCommand(): Command {
  return addBrokerOptions(new Command('rescue'))
    .description('Go on with this node alone, when the majority is gone for good. Loses data.')
    .addOption(new Option('--shard <number>', 'of this shard').argParser(sequenceNumber).default(0))
    .option('--give-up <node>', 'a member that is gone for good; repeat it for each', collect)
    .option('--even-if-shorter', 'although another node that answers has more')
    .option('--i-accept-loss', 'what only the others had is lost, and they may not come back')
    .addOption(
      new Option('--within <duration>', 'give up after so long')
        .argParser(readSpan)
        .default(WITHIN_MS, '1m'),
    )
    .action((flags: RescueFlags) => withBroker(flags, ({ cluster }) => rescue(cluster, flags)));
}

async function rescue(cluster: ClusterAdmin, flags: RescueFlags): Promise<void> {
  const { shard, giveUp = [], json } = flags;
  const end = performance.now() + flags.within;
  const before = await look(cluster, shard);
  if (json !== true) await print(knownLines(before, shard));
  if (flags.iAcceptLoss !== true || giveUp.length === 0) {
    const text = `nothing was done; if it is meant: ${commandFor(before, flags)}`;
    throw new CliError(ExitCode.usage, text);
  }
  const wish = { by: who(), giveUp, evenIfShorter: flags.evenIfShorter === true };
  for (;;) {
    const answer = await cluster.rescue(shard, wish);
    if (answer.kind === 'accepted') break;
    const { code, leader } = answer;
    if (code !== 'listening') {
      const led = leader === undefined ? '' : `, ${visible(leader)} does`;
      const words = `shard ${shard}: nothing was done: ${CLUSTER_REFUSED[code]}${led} (${code})`;
      throw new CliError(ExitCode.refused, words);
    }
    await pause(end, 'it listens to the others still');
  }
  for (;;) {
    const after = await look(cluster, shard, true);
    const { rescued } = after ?? {};
    if (
      after?.role === 'leader' &&
      rescued !== undefined &&
      after.membersIndex <= after.committed
    ) {
      const { shards } = await cluster.status();
      const lines = [...doneLines(after, rescued), ...hostLines(after, rescued, shards)];
      await print(json === true ? [jsonOf(after, rescued)] : lines);
      return;
    }
    await pause(end, 'it is in the log, and this node does not lead yet');
  }
}

async function look(cluster: ClusterAdmin, shard: number): Promise<ReplicaStatus>;
async function look(
  cluster: ClusterAdmin,
  shard: number,
  mayBeAway: true,
): Promise<ReplicaStatus | undefined>;
async function look(
  cluster: ClusterAdmin,
  shard: number,
  mayBeAway = false,
): Promise<ReplicaStatus | undefined> {
  const { node, replicas } = await cluster.status();
  const replica = replicas.find((each) => each.shard === shard);
  if (replica !== undefined || mayBeAway) return replica;
  throw new CliError(ExitCode.refused, `${visible(node)} has no shard ${shard} (no-shard)`);
}

async function pause(end: number, why: string): Promise<void> {
  if (performance.now() > end) {
    throw new CliError(ExitCode.timeout, `not done in time: ${why}; look at fluxmq cluster status`);
  }
  await sleep(LOOK_MS);
}

/** For the record in the log. Names with other letters are told without them. */
function who(): string {
  const name = `${userInfo().username}@${hostname()}`.replaceAll(/[^\x20-\x7e]/g, '?');
  return name.slice(0, 128);
}

function knownLines(replica: ReplicaStatus, shard: number): string[] {
  const { id, last, lastTerm, members, survivors, leader } = replica;
  const led = leader === undefined ? 'nobody leads' : `${visible(leader)} leads`;
  const others = members.filter((member) => member.id !== id);
  return [
    `shard ${shard}: ${led}`,
    `  ${visible(id)}, this node: its log ends with entry ${last} of term ${lastTerm}`,
    ...others.map((member) => {
      const heard = survivors.find((survivor) => survivor.id === member.id);
      const said = heard === undefined ? 'is not heard' : heardText(heard);
      return `  ${visible(member.id)}, ${member.role} at ${visible(member.address)}: ${said}`;
    }),
  ];
}

function heardText({ last, lastTerm, isCovered }: SurvivorStatus): string {
  const where = last === undefined ? '' : `, its log ends with entry ${last} of term ${lastTerm}`;
  return `is heard${where}${isCovered ? '' : ' (more than this node has, or may have)'}`;
}

function commandFor({ id, members }: ReplicaStatus, { shard }: RescueFlags): string {
  const others = members.filter((member) => member.id !== id);
  const names = others.map((member) => `--give-up ${visible(member.id)}`).join(' ');
  return `fluxmq cluster rescue --shard ${shard} ${names} --i-accept-loss`;
}

function doneLines({ id, shard, committed }: ReplicaStatus, rescued: RescueRecord): string[] {
  const { by, lastIndex, lastTerm, givenUp } = rescued;
  const names = givenUp.map((name) => visible(name)).join(', ');
  return [
    `shard ${shard}: ${visible(id)} leads alone; everything up to entry ${committed} is there`,
    `  rescued by ${visible(by)} behind entry ${lastIndex} of term ${lastTerm}`,
    `  nobody takes part any more as ${names}`,
    '  now add nodes with empty directories: fluxmq cluster add ID HOST:PORT',
  ];
}

/** Of shard 0: its map names those who were given up as hosts of the others still. */
function hostLines(
  { id, shard }: ReplicaStatus,
  { givenUp }: RescueRecord,
  shards: readonly ShardPlace[],
): string[] {
  if (shard !== 0) return [];
  const gone = [...new Set(givenUp.map((each) => nodeOf(each)))];
  const hosts = gone.filter((node) => {
    return node !== nodeOf(id) && shards.some((each) => each.hosts.includes(node));
  });
  return hosts.map((node) => {
    const name = visible(node);
    return `  ${name} is a host of other shards still: fluxmq cluster remove ${name}`;
  });
}

function jsonOf({ id, shard, committed }: ReplicaStatus, rescued: RescueRecord): string {
  return jsonLine({ step: 'rescued', shard, node: id, committed, ...rescueFields(rescued) });
}
