/** What the other side is told of queues: all once, in batches of a bounded size, then changes. */

import { describe, expect, it } from 'vitest';
import { QueueExpiry } from '../../src/shard/queue-expiry.ts';
import type { DefinedQueue } from '../../src/machine/definition-commands.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { ShardWorld, queue, turn, until } from '../support/shard-world.ts';

const COUNT = 3_000;

function many(topicLength: number): ReturnType<typeof queue>[] {
  return Array.from({ length: COUNT }, (_none, at) => ({
    ...queue(`q${at}`),
    topics: [`$queue/q${at}/${'x'.repeat(topicLength)}`],
  }));
}

describe('many queues', () => {
  it('are told in frames and batches of a bounded size, and one change is told alone', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: many(1_000) });
    expect(client.queues.size).toBe(COUNT);
    expect(client.queueFrames.reduce((sum, count) => sum + count)).toBe(COUNT);
    expect(Math.max(...client.queueFrames)).toBeLessThanOrEqual(256);
    expect(Math.max(...client.batchBytes)).toBeLessThan(400_000);
    const before = client.queueFrames.length;
    await client.request({ kind: 'declare', queues: [queue('one more')] });
    expect(client.queues.has('one more')).toBe(true);
    await client.request({ kind: 'delete', name: 'q7' });
    expect(client.queues.has('q7')).toBe(false);
    expect(client.queueFrames.slice(before)).toEqual([1, 1]);
  });

  it('wait while the other side does not work them off, and a reply stays behind them', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: many(1_000) });
    client.takes = false;
    // Everything changes, and with it everything is told again.
    const changed = many(1_001).map((each) => ({
      ...each,
      limits: { ...each.limits, ttlMs: 5_000 },
    }));
    const told = client.queueFrames.length;
    const asked = client.request({ kind: 'declare', queues: changed });
    for (let turns = 0; turns < 300; turns++) await turn();
    const soFar = client.queueFrames.slice(told).reduce((sum, count) => sum + count, 0);
    expect(client.replies.size).toBe(0);
    client.takes = true;
    const poke = setInterval(() => client.send(), 1);
    await asked;
    clearInterval(poke);
    const all = client.queueFrames.slice(told).reduce((sum, count) => sum + count, 0);
    expect(all).toBe(COUNT);
    expect(soFar).toBeLessThanOrEqual(COUNT);
    await until(() => client.replies.size === 1);
  });
});

describe('queues in memory', () => {
  it('go so long after their last consumer left, and not before', () => {
    let now = 0;
    let consumers = 1;
    const gone: number[] = [];
    const { name, type, topics, limits } = queue('live');
    const definition = { name, type, topics, limits: { ...limits, expiresMs: 10_000 } };
    const kept = { ...definition, limits: { ...limits, expiresMs: 0 } };
    const queues = [
      { queueId: 1 as QueueId, definition },
      { queueId: 2 as QueueId, definition: kept },
    ] as unknown as DefinedQueue[];
    const expiry = new QueueExpiry({
      queues: () => queues,
      consumersOf: (queueId) => (queueId === 1 ? consumers : 0),
      propose: ({ queueId }) => void gone.push(queueId),
      now: () => now,
    });
    const run = (untilMs: number): void => {
      for (; now < untilMs; now += 500) expiry.look();
    };
    run(30_000);
    expect(gone).toEqual([]);
    consumers = 0;
    run(39_500);
    consumers = 1;
    run(41_000);
    consumers = 0;
    run(50_500);
    expect(gone).toEqual([]);
    expect(expiry.nextWake - now).toBeLessThanOrEqual(1_000);
    run(53_000);
    expect(gone[0]).toBe(1);
    queues.length = 0;
    now += 1_000;
    expiry.look();
    expect(expiry.nextWake).toBe(Number.POSITIVE_INFINITY);
  });
});
