/**
 * A shard of which one node was down for so long that what it lacks has left the log of the others,
 * and what it delivers when it has caught up.
 */

import { expect } from 'vitest';
import { decodeQuestion } from '../../src/shard/catch-up-codec.ts';
import type { ShardLimits } from '../../src/shard/shard-limits.ts';
import { ShardCluster } from './shard-cluster.ts';
import type { ShardNode } from './shard-cluster.ts';
import type { PlainClient } from './shard-world.ts';

/** So small that a few hundred messages leave the log. */
const LIMITS = { checkpointLogBytes: 16_000, windowBytes: 16_000, spillBufferBytes: 8_192 };
export const numbered = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_value, at) => `m${first + at} ${'x'.repeat(8000)}`);

export interface Leader {
  readonly node: ShardNode;
  readonly client: PlainClient;
  readonly queueId: number;
}

export async function publish(
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
export async function leftBehind(
  window: Partial<ShardLimits> = {},
): Promise<{ cluster: ShardCluster; leader: Leader; behind: ShardNode }> {
  const cluster = new ShardCluster();
  await cluster.start({ ...LIMITS, ...window });
  const leader = await cluster.leader();
  const [behind] = cluster.nodes.filter((node) => node !== leader.node) as [ShardNode];
  await publish(cluster, leader, numbered(20));
  await cluster.until(() => behind.applied === leader.node.applied);
  behind.crash();
  await publish(cluster, leader, numbered(280, 20));
  const up = cluster.nodes.filter((node) => node !== behind);
  await cluster.until(() => up.every(({ log }) => (log?.start ?? 0) > 20));
  return { cluster, leader, behind };
}

export const isPayloads = (question: Uint8Array): boolean =>
  decodeQuestion(question).kind === 'payloads';

/** What the node delivers when it leads. */
export async function deliveredBy(
  cluster: ShardCluster,
  node: ShardNode,
  count: number,
): Promise<string[]> {
  const { node: leader } = await cluster.leader();
  if (leader !== node) leader.raftLog?.replica.transferLeadership(node.id);
  await cluster.until(() => node.leads && (leader === node || !leader.leads));
  const { client, queueId } = await cluster.leader();
  expect(node.leads).toBe(true);
  client.consume(1, queueId, 10_000);
  client.send();
  await cluster.until(() => client.deliveries.length >= count);
  return client.deliveries.map(({ text }) => text);
}
