import { describe, expect, it } from 'vitest';
import { ShardWorld, queue, turn, until } from '../support/shard-world.ts';

describe('shard: publishes', () => {
  it('confirms what is durable and applied, in order, and delivers it', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    const orders = client.queues.get('orders') ?? 0;
    for (let n = 0; n < 10; n++) client.enqueue([orders], `order ${n}`);
    client.send();
    await until(() => client.confirmed === 10);
    expect(client.refusals.size).toBe(0);
    client.consume(1, orders, 100);
    client.send();
    await until(() => client.deliveries.length === 10);
    expect(client.deliveries.map(({ text }) => text)).toEqual(
      Array.from({ length: 10 }, (_value, n) => `order ${n}`),
    );
    expect(client.deliveries.every(({ redelivered, attempt }) => !redelivered && attempt === 1)).toBe(true);
    await world.stop();
  });

  it('D5: no confirm precedes the sync that covers it', async () => {
    const world = new ShardWorld();
    const client = await world.open({ mode: 'by-hand' });
    const orders = client.queues.get('orders') ?? 0;
    const trace = world.log?.trace ?? [];
    client.onConfirmed = (upTo) => void trace.push(`confirmed ${upTo}`);
    for (let n = 1; n <= 5; n++) {
      client.enqueue([orders], `order ${n}`);
      client.send();
      for (let turns = 0; turns < 10; turns++) await turn();
      expect(client.confirmed).toBe(n - 1);
      trace.push(`synced for ${n}`);
      world.log?.sync();
      await until(() => client.confirmed === n);
    }
    const own = trace.filter((line) => !line.startsWith('sync '));
    expect(own).toEqual([1, 2, 3, 4, 5].flatMap((n) => [`synced for ${n}`, `confirmed ${n}`]));
  });

  it('Q19: 10,000 queues written round robin share entries and syncs', async () => {
    const world = new ShardWorld();
    const names = Array.from({ length: 10_000 }, (_value, n) => `q${n}`);
    const client = await world.open({ queues: names.map((name) => queue(name)) });
    const before = world.log?.stats.appends ?? 0;
    for (let round = 0; round < 5; round++) {
      for (const [at, name] of names.entries()) {
        client.enqueue([client.queues.get(name) ?? 0], `${round} ${name}`);
        if (at % 1_000 === 999) {
          client.send();
          await until(() => client.confirmed === client.next - 1);
        }
      }
    }
    expect((world.log?.stats.appends ?? 0) - before).toBe(50);
    client.consume(1, client.queues.get('q7777') ?? 0, 100);
    client.send();
    await until(() => client.deliveries.length === 5);
    expect(client.deliveries.map(({ text }) => text)).toEqual([0, 1, 2, 3, 4].map((n) => `${n} q7777`));
    await world.stop();
  });
});
