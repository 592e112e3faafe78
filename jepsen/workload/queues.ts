/**
 * The queues of a run: for each shard one to publish to, and one for what its consumers reject,
 * which lies in another shard where there are several. Declared as an operator would, one after the
 * other, until every shard has some: a run whose shards are empty proves nothing.
 *
 * They never give up on a message, so that none leaves but by a settlement, and give back soon what
 * a dead consumer held. Their groups are there before the first message.
 */

import type { Cluster } from '../cluster/cluster.ts';
import { runProgram } from '../cluster/run-program.ts';
import { sleep } from '../sleep.ts';
import { Connection } from './connection.ts';

/** One consumer at a time: order can be judged through every fault. */
export const SOLE_GROUP = 'sole';
/** A consumer on each node; it rejects some. */
export const TEAM_GROUP = 'team';

const LIMITS = {
  '--visibility-timeout': '10s',
  '--delivery-limit': '1000000',
  '--retry-min': '10ms',
  '--retry-max': '1s',
} as const;
const DECLARE_MAX_MS = 60_000;
const AGAIN_MS = 500;
/** New queues go to the shard with the fewest, and others are there before. */
const TRIES_PER_SHARD = 4;

export interface RunQueue {
  readonly name: string;
  readonly shard: number;
  readonly groups: readonly string[];
  /** Where the dead letters go; undefined: nobody rejects anything here. */
  readonly dead: string | undefined;
}

/** Rejects when not every shard comes to have some. */
export async function declareQueues(cluster: Cluster, shards: number): Promise<RunQueue[]> {
  const queues: RunQueue[] = [];
  const dead = await onePerShard(cluster, 'jepsen-dead', shards);
  const sentTo = await onePerShard(cluster, 'jepsen', shards);
  for (const [shard, name] of sentTo) {
    const letters = dead.get((shard + 1) % shards);
    await declare(cluster, name, letters ?? 'off');
    queues.push({ name, shard, groups: [SOLE_GROUP, TEAM_GROUP], dead: letters });
  }
  for (const [shard, name] of dead) {
    queues.push({ name, shard, groups: [SOLE_GROUP], dead: undefined });
  }
  for (const { name, groups } of queues) {
    for (const group of groups) await untilDone(() => makeGroup(cluster, name, group));
  }
  return queues;
}

/** By shard. Where to, the brokers say: what comes to a shard that has one already is not used. */
async function onePerShard(
  cluster: Cluster,
  prefix: string,
  shards: number,
): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  for (let nth = 0; found.size < shards; nth += 1) {
    if (nth >= shards * TRIES_PER_SHARD) {
      throw new Error(`of ${nth} queues none came to some of ${shards} shards`);
    }
    const name = `${prefix}-${nth}`;
    const shard = await declare(cluster, name, 'off');
    if (!found.has(shard)) found.set(shard, name);
  }
  return new Map([...found].toSorted(([a], [b]) => a - b));
}

/** Or changes it; in which shard it is. */
async function declare(cluster: Cluster, name: string, dead: string): Promise<number> {
  const { program, nodes } = cluster;
  const at = ['--json', '--data', nodes[0]?.dataDirectory ?? ''];
  const limits = [...Object.entries(LIMITS).flat(), '--dlq', dead];
  await untilDone(() => runProgram(program, ['queue', 'declare', name, ...limits, ...at]));
  const shown = await untilDone(() => runProgram(program, ['queue', 'show', name, ...at]));
  return (JSON.parse(shown) as { readonly shard: number }).shard;
}

/** A group is made by its first consumer, and stays. */
async function makeGroup(cluster: Cluster, queue: string, group: string): Promise<void> {
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error('there is no node');
  const client = `first-${queue}-${group}`;
  const connection = await Connection.open(node.id, node.addresses.mqtt, client);
  const answer = await connection.subscribe(`$queue/${queue}`, { 'consumer-group': group });
  await connection.leave();
  if (answer.type !== 'ok') throw new Error(`group ${group} of ${queue}: ${answer.error}`);
}

/** Nothing is broken yet, but a leader may be on its way elsewhere. */
async function untilDone<T>(action: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + DECLARE_MAX_MS;
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await sleep(AGAIN_MS);
  }
}
