import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { Offset } from '../../src/machine/ids.ts';
import { peekPartIn } from '../../src/shard/admin-requests.ts';
import { property } from '../../src/shard/departure.ts';
import { decodeBody } from '../../src/shard/requests.ts';
import { StoredMessageView } from '../../src/shard/stored-message.ts';
import { ShardWorld, queue, turn, until } from '../support/shard-world.ts';
import type { Delivered, PlainClient } from '../support/shard-world.ts';

const dlq = queue('orders', { deadLetter: '$dlq/orders' });
const onTopic = { message: { topic: '$queue/orders/eu/1' } };

async function peek(client: PlainClient, name: string): Promise<Message[]> {
  const request = { kind: 'peek', name, from: 0 as Offset, max: 1000 } as const;
  const { messages } = peekPartIn(decodeBody(await client.request(request)));
  return messages.map(({ stored }) => new StoredMessageView(stored, 0, stored.length));
}

const textOf = ({ payload }: Message): string => Buffer.from(payload).toString();
const first = (client: PlainClient): Delivered =>
  client.deliveries[0] ?? expect.fail('no delivery');

async function rest(): Promise<void> {
  for (let turns = 0; turns < 60; turns++) await turn();
}

describe('a message that is rejected', () => {
  it('Q5: is in the dead-letter queue with what tells why, consumable, also after a restart', async () => {
    const world = new ShardWorld();
    let client = await world.open({ queues: [dlq] });
    const orders = client.queues.get('orders') ?? 0;
    client.enqueue([orders], 'bad', onTopic);
    client.enqueue([orders], 'good', onTopic);
    client.consume(1, orders, 2);
    client.send();
    await until(() => client.deliveries.length === 2);
    client.settle(first(client), 'discard');
    client.settle(client.deliveries[1] ?? expect.fail('one delivery'), 'complete');
    client.send();
    await until(() => client.queues.has('$dlq/orders'));
    await until(() => world.shard?.stats().get('depth\0$dlq/orders') === 1);
    expect(world.shard?.stats().get('depth\0orders')).toBe(0);
    world.crash();

    client = await world.open({ queues: [dlq] });
    const [letter] = await peek(client, '$dlq/orders');
    expect(letter?.topic).toBe('$queue/$dlq/orders/eu/1');
    const told = (name: string): string | undefined => letter && property(letter, `_flux.${name}`);
    expect(told('dlq-reason')).toBe('rejected');
    expect(told('dlq-queue')).toBe('orders');
    expect(told('dlq-group')).toBe('default');
    expect(told('dlq-offset')).toBe('0');
    expect(told('source-topic')).toBe('$queue/orders/eu/1');
    client.consume(1, client.queues.get('$dlq/orders') ?? 0, 5);
    client.send();
    await until(() => client.deliveries.length === 1);
    expect(first(client).text).toBe('bad');
  });

  it('Q4: is there after exactly as many attempts as the queue allows', async () => {
    const world = new ShardWorld();
    const limits = { deadLetter: '$dlq/orders', deliveryLimit: 3 };
    const retry = { minMs: 1, maxMs: 1, multiplier: 1, jitter: 0 };
    const client = await world.open({ queues: [queue('orders', { ...limits, retry })] });
    const orders = client.queues.get('orders') ?? 0;
    client.onDelivered = (delivery) => {
      client.settle(delivery, 'requeue');
      client.grant(1, 1);
      client.send();
    };
    client.enqueue([orders], 'poison');
    client.consume(1, orders, 1);
    client.send();
    await until(() => {
      world.wallMs += 1;
      world.monotonicMs += 1;
      return world.shard?.stats().get('depth\0$dlq/orders') === 1;
    });
    expect(client.deliveries.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    const [letter] = await peek(client, '$dlq/orders');
    expect(letter && property(letter, '_flux.dlq-reason')).toBe('delivery-limit');
    expect(letter && property(letter, '_flux.dlq-attempts')).toBe('3');
  });

  it('goes back to where it came from when an operator says so', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: [dlq] });
    const orders = client.queues.get('orders') ?? 0;
    client.enqueue([orders], 'bad', onTopic);
    client.consume(1, orders, 1);
    client.send();
    await until(() => client.deliveries.length === 1);
    client.settle(first(client), 'discard');
    client.send();
    await until(() => world.shard?.stats().get('depth\0$dlq/orders') === 1);
    const move = { kind: 'move', name: '$dlq/orders', group: 'default', to: '', max: 10 } as const;
    expect(decodeBody(await client.request(move))).toBe(1);
    await until(() => world.shard?.stats().get('depth\0orders') === 1);
    const [again] = await peek(client, 'orders');
    expect(again?.topic).toBe('$queue/orders/eu/1');
    expect(again?.properties).toBeUndefined();
    expect(await peek(client, '$dlq/orders')).toEqual([]);
  });
});

describe('a dead-letter queue that is full', () => {
  const full = queue('$dlq/orders', { maxMessages: 1, overflow: 'reject-publish' });

  it('Q6: keeps its letters on their way, in turn, without doubling one or holding up others', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: [dlq, full] });
    const orders = client.queues.get('orders') ?? 0;
    const letters = client.queues.get('$dlq/orders') ?? 0;
    for (const text of ['a', 'b', 'c']) client.enqueue([orders], text, onTopic);
    client.consume(1, orders, 3);
    client.send();
    await until(() => client.deliveries.length === 3);
    for (const delivery of client.deliveries) client.settle(delivery, 'discard');
    client.send();
    await until(() => (world.shard?.stats().get('outbox/refused') ?? 0) >= 2);
    expect(world.shard?.stats().get('outbox/open')).toBe(2);
    // For everybody else they are settled, and the publishers of the source go on.
    expect(world.shard?.stats().get('depth\0orders')).toBe(0);
    client.enqueue([orders], 'd', onTopic);
    client.send();
    await until(() => client.confirmed === 4);

    const got: string[] = [];
    client.onDelivered = (delivery) => {
      if (delivery.queueId !== letters) return;
      got.push(delivery.text);
      client.settle(delivery, 'complete');
      client.grant(2, 1);
      client.send();
    };
    client.consume(2, letters, 1);
    client.send();
    // Each question is a turn of the shard, in which it sees how late it is.
    for (let left = 200; left > 0 && got.length < 3; left--) {
      world.monotonicMs += 1_000;
      await client.stats();
    }
    await rest();
    expect(got.toSorted()).toEqual(['a', 'b', 'c']);
    expect(world.shard?.stats().get('outbox/open')).toBe(0);
  });
});

describe('an intent of the outbox', () => {
  it('Q31: after a crash at each step the message is a dead letter or where it was, once', async () => {
    const seen = new Set<string>();
    for (let syncs = 0; syncs <= 12; syncs++) {
      const world = new ShardWorld();
      let client = await world.open({ queues: [dlq], mode: 'by-hand' });
      const orders = client.queues.get('orders') ?? 0;
      client.enqueue([orders], 'bad', onTopic);
      client.consume(1, orders, 1);
      client.send();
      await world.syncUntil(until(() => client.deliveries.length === 1));
      client.settle(first(client), 'discard');
      client.send();
      for (let count = 0; count < syncs; count++) {
        world.log?.sync();
        for (let turns = 0; turns < 5; turns++) await turn();
      }
      world.crash();

      client = await world.open({ queues: [dlq] });
      await rest();
      await until(() => world.shard?.stats().get('outbox/open') === 0);
      const there = (await peek(client, 'orders')).map(textOf);
      const letters = client.queues.has('$dlq/orders') ? await peek(client, '$dlq/orders') : [];
      expect([...there, ...letters.map(textOf)], `after ${syncs} syncs`).toEqual(['bad']);
      seen.add(there.length === 1 ? 'where it was' : 'a dead letter');
      await world.stop();
    }
    expect([...seen].toSorted()).toEqual(['a dead letter', 'where it was']);
  });
});
