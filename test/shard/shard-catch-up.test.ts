/** A shard that is behind the start of the log: records, payloads by queue and range, then the log. */

import { describe, expect, it } from 'vitest';
import { ShardCluster } from '../support/shard-cluster.ts';
import type { ShardNode } from '../support/shard-cluster.ts';
import type { PlainClient } from '../support/shard-world.ts';

/** So small that a few hundred messages leave the log. */
const LIMITS = { checkpointLogBytes: 16_000, windowBytes: 16_000, spillBufferBytes: 8_192 };
const numbered = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_value, at) => `m${first + at} ${'x'.repeat(200)}`);

interface Leader {
  readonly node: ShardNode;
  readonly client: PlainClient;
  readonly queueId: number;
}

async function publish(
  cluster: ShardCluster,
  { client, queueId }: Leader,
  texts: readonly string[],
): Promise<void> {
  for (const [nth, text] of texts.entries()) {
    client.enqueue([queueId], text);
    if (nth % 10 === 9) client.send();
    if (nth % 50 === 49) await cluster.until(() => client.confirmed === client.next - 1);
  }
  client.send();
  await cluster.until(() => client.confirmed === client.next - 1);
}

/** One node is down; what it lacks has left the log of the others. */
async function leftBehind(): Promise<{ cluster: ShardCluster; leader: Leader; behind: ShardNode }> {
  const cluster = new ShardCluster();
  await cluster.start(LIMITS);
  const leader = await cluster.leader();
  const [behind] = cluster.nodes.filter((node) => node !== leader.node) as [ShardNode];
  await publish(cluster, leader, numbered(20));
  await cluster.until(() => behind.applied === leader.node.applied);
  behind.crash();
  await publish(cluster, leader, numbered(480, 20));
  const up = cluster.nodes.filter((node) => node !== behind);
  await cluster.until(() => up.every(({ log }) => (log?.start ?? 0) > 20));
  return { cluster, leader, behind };
}

/** What the node delivers when it leads. */
async function deliveredBy(
  cluster: ShardCluster,
  node: ShardNode,
  count: number,
): Promise<string[]> {
  const { node: leader } = await cluster.leader();
  if (leader !== node) leader.raftLog?.replica.transferLeadership(node.id);
  await cluster.until(() => node.leads && !leader.leads === (leader !== node));
  const { client, queueId } = await cluster.leader();
  expect(node.leads).toBe(true);
  client.consume(1, queueId, 10_000);
  client.send();
  await cluster.until(() => client.deliveries.length >= count);
  return client.deliveries.map(({ text }) => text);
}

describe('a shard behind the start of the log', () => {
  it('has every message that is wanted afterwards, and serves them when it leads', async () => {
    const { cluster, leader, behind } = await leftBehind();
    await behind.start();
    await publish(cluster, leader, numbered(100, 500));
    await cluster.until(() => behind.replacements === 1 && behind.applied >= leader.node.applied);
    expect(behind.stat('depth\0orders')).toBe(600);
    expect(await deliveredBy(cluster, behind, 600)).toEqual(numbered(600));
    expect(cluster.nodes.flatMap(({ failures }) => failures)).toEqual([]);
  });
});
