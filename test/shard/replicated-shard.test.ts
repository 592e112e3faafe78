/** Shards as replicas of each other: what is confirmed survives the loss of any one. */

import { describe, expect, it } from 'vitest';
import type { ShardNode } from '../support/shard-cluster.ts';
import { ShardCluster } from '../support/shard-cluster.ts';
import type { PlainClient } from '../support/shard-world.ts';

const numbered = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_value, at) => `m${first + at}`);

async function publish(
  cluster: ShardCluster,
  { client, queueId }: { client: PlainClient; queueId: number },
  texts: readonly string[],
): Promise<void> {
  for (const text of texts) {
    client.enqueue([queueId], text);
    if (text.endsWith('7')) client.send();
  }
  client.send();
  await cluster.until(() => client.confirmed === client.next - 1);
}

function others(cluster: ShardCluster, node: ShardNode): ShardNode[] {
  return cluster.nodes.filter((each) => each !== node);
}

describe('a replicated shard', () => {
  it('has the same queues and messages on every node', async () => {
    const cluster = new ShardCluster();
    await cluster.start();
    const leader = await cluster.leader();
    await publish(cluster, leader, numbered(50));
    const { applied } = leader.node;
    await cluster.until(() => cluster.nodes.every((node) => node.applied >= applied));
    for (const node of cluster.nodes) expect(node.stat('depth\0orders')).toBe(50);
    expect(others(cluster, leader.node).some(({ leads }) => leads)).toBe(false);
    expect(leader.node.told.at(-1)).toEqual({ kind: 'here' });
    for (const node of others(cluster, leader.node)) {
      expect(node.told.at(-1)).toEqual({ kind: 'there', server: leader.node.id });
    }
  });

  it('what was confirmed is delivered by the next leader, once and in order', async () => {
    const cluster = new ShardCluster();
    await cluster.start();
    const first = await cluster.leader();
    await publish(cluster, first, numbered(40));
    first.client.enqueue([first.queueId], 'of unknown outcome');
    first.client.send();
    first.node.crash();
    const second = await cluster.leader();
    expect(second.queueId).toBe(first.queueId);
    await publish(cluster, second, numbered(10, 40));
    const { client } = second;
    client.consume(1, second.queueId, 1000);
    client.send();
    await cluster.until(() => client.deliveries.length >= 50);
    const delivered = client.deliveries.map(({ text }) => text);
    expect(delivered.filter((text) => text.startsWith('m'))).toEqual(numbered(50));
    expect(client.deliveries.slice(0, 40).every(({ redelivered }) => redelivered)).toBe(true);
    expect(client.deliveries.at(-1)?.redelivered).toBe(false);
  });

  it('a settlement that was applied is not undone by a change of leader', async () => {
    const cluster = new ShardCluster();
    await cluster.start();
    const first = await cluster.leader();
    await publish(cluster, first, numbered(20));
    first.client.consume(1, first.queueId, 10);
    first.client.send();
    await cluster.until(() => first.client.deliveries.length === 10);
    for (const delivery of first.client.deliveries) first.client.settle(delivery, 'complete');
    first.client.send();
    await cluster.until(() => first.node.stat('depth\0orders') === 10);
    first.node.crash();
    const { client, queueId } = await cluster.leader();
    client.consume(1, queueId, 100);
    client.send();
    await cluster.until(() => client.deliveries.length === 10);
    expect(client.deliveries.map(({ text }) => text)).toEqual(numbered(10, 10));
  });

  it('a leader that was cut off confirms nothing, tells its client, and serves again later', async () => {
    const cluster = new ShardCluster();
    await cluster.start();
    const first = await cluster.leader();
    await publish(cluster, first, numbered(5));
    cluster.isolate(first.node.id);
    first.client.enqueue([first.queueId], 'of unknown outcome');
    first.client.send();
    await cluster.until(() => first.client.failed !== undefined);
    expect(first.client.failed).toMatch(/does not lead/);
    expect(first.client.confirmed).toBe(5);
    const second = await cluster.leader(first.node);
    await publish(cluster, second, numbered(5, 5));
    cluster.cut.clear();
    const { applied } = second.node;
    await cluster.until(() => first.node.applied >= applied);
    expect(first.node.stat('depth\0orders')).toBe(10);
    second.node.crash();
    for (const node of others(cluster, second.node)) if (node !== first.node) node.crash();
    await others(cluster, second.node)
      .find((node) => node !== first.node)
      ?.start();
    await cluster.until(() => cluster.nodes.some(({ leads }) => leads));
    expect(cluster.nodes.flatMap(({ failures }) => failures)).toEqual([]);
  });

  it('a follower writes checkpoints, gives its log back, and starts from there', async () => {
    const cluster = new ShardCluster();
    const limits = { checkpointLogBytes: 8_000, windowBytes: 8_000 };
    await cluster.start(limits);
    const leader = await cluster.leader();
    for (let round = 0; round < 20; round++) {
      const texts = numbered(20, round * 20).map((text) => `${text} ${'x'.repeat(200)}`);
      await publish(cluster, leader, texts);
    }
    const [follower] = others(cluster, leader.node) as [ShardNode];
    await cluster.until(() => (follower.log?.start ?? 0) > 1);
    expect(follower.stat('checkpoint/index')).toBeGreaterThan(0);
    follower.crash();
    await publish(cluster, leader, numbered(20, 400));
    await follower.start(limits);
    const { applied } = leader.node;
    await cluster.until(() => follower.applied >= applied);
    expect(follower.stat('depth\0orders')).toBe(420);
    expect(cluster.nodes.flatMap(({ failures }) => failures)).toEqual([]);
  });

  it('a leader that stops in order hands over first: the next one needs no election', async () => {
    const cluster = new ShardCluster();
    await cluster.start();
    const first = await cluster.leader();
    await publish(cluster, first, numbered(10));
    const before = cluster.clock.nowMs;
    let over = false;
    void first.node.shard?.stop().then(() => {
      over = true;
    });
    await cluster.until(() => others(cluster, first.node).some(({ leads }) => leads));
    expect(cluster.clock.nowMs - before).toBeLessThan(300);
    await cluster.until(() => over);
    const second = await cluster.leader(first.node);
    await publish(cluster, second, numbered(10, 10));
    expect(cluster.nodes.flatMap(({ failures }) => failures)).toEqual([]);
  });

  it('a new leader says nothing again of the queues that stand as they are configured', async () => {
    const cluster = new ShardCluster();
    await cluster.start();
    const first = await cluster.leading();
    await cluster.until(() => first.told.at(-1)?.kind === 'here');
    const [second] = others(cluster, first);
    const before = first.raftLog?.last ?? 0;
    first.raftLog?.transferLeadership(second?.id ?? '');
    await cluster.until(() => second?.told.at(-1)?.kind === 'here');
    // That with which its term begins.
    expect(second?.raftLog?.last).toBe(before + 1);
  });

  it('stops in order on every node, and all of it is there afterwards', async () => {
    const cluster = new ShardCluster();
    await cluster.start();
    const leader = await cluster.leader();
    await publish(cluster, leader, numbered(30));
    for (const node of [...others(cluster, leader.node), leader.node]) {
      const stopped = node.shard?.stop();
      let over = false;
      void stopped?.then(() => {
        over = true;
      });
      await cluster.until(() => over);
      node.listener = undefined;
    }
    await cluster.start();
    const again = await cluster.leader();
    again.client.consume(1, again.queueId, 100);
    again.client.send();
    await cluster.until(() => again.client.deliveries.length === 30);
    expect(again.client.deliveries.map(({ text }) => text)).toEqual(numbered(30));
  });
});
