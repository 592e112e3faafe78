/** Dead letters, moves and replay between queues of two shards, as nodes do it. */

import { describe, expect, it } from 'vitest';
import { property } from '../../src/shard/departure.ts';
import { TwoShards } from '../support/two-shards.ts';

const toLetters = { deadLetter: 'letters' };

describe('a dead letter for a queue of another shard', () => {
  it('Q5: is there with what tells why, and goes back to its source', async () => {
    const shards = new TwoShards();
    const { zero, one } = shards;
    await shards.start();
    const orders = await shards.declare('orders', 0, toLetters);
    await shards.declare('letters', 1);
    await shards.reject(zero, orders, ['bad', 'worse']);
    await shards.until(() => shards.stat(one, 'depth\0letters') === 2);
    await shards.until(() => shards.stat(zero, 'outbox/open') === 0);
    const [letter] = await shards.peek(one, 'letters');
    expect(letter?.topic).toBe('$queue/letters/eu/1');
    const told = (name: string): string | undefined => letter && property(letter, `_flux.${name}`);
    expect(told('dlq-reason')).toBe('rejected');
    expect(told('dlq-queue')).toBe('orders');
    expect(told('source-topic')).toBe('$queue/orders/eu/1');
    expect(shards.stat(zero, 'messages/dead-lettered')).toBe(2);

    const move = { name: 'letters', group: 'default', to: '', max: 10 };
    expect(await one.routed?.admin.move(move)).toBe(2);
    await shards.until(() => shards.stat(zero, 'depth\0orders') === 2);
    await shards.until(() => shards.stat(one, 'outbox/open') === 0);
    const [again] = await shards.peek(zero, 'orders');
    expect(again?.topic).toBe('$queue/orders/eu/1');
    expect(again?.properties).toBeUndefined();
    expect(await shards.texts(one, 'letters')).toEqual([]);
  });

  it('is declared beside its source where it is missing', async () => {
    const shards = new TwoShards();
    const { zero, one } = shards;
    await shards.start();
    const orders = await shards.declare('orders', 1, { deadLetter: '$dlq/orders' });
    const jobs = await shards.declare('jobs', 0, { deadLetter: '$dlq/jobs' });
    await shards.reject(one, orders, ['bad']);
    await shards.reject(zero, jobs, ['bad']);
    await shards.until(() => shards.stat(one, 'depth\0$dlq/orders') === 1);
    await shards.until(() => shards.stat(zero, 'depth\0$dlq/jobs') === 1);
    expect(await zero.routed?.places.where('$dlq/orders')).toMatchObject({ shard: 1 });
    expect(await zero.routed?.places.where('$dlq/jobs')).toMatchObject({ shard: 0 });
  });

  it('is declared in the shard that its name has', async () => {
    const shards = new TwoShards();
    const { zero, one } = shards;
    await shards.start();
    const orders = await shards.declare('orders', 0, toLetters);
    await zero.routed?.places.place('letters', [1], '');
    await shards.reject(zero, orders, ['bad']);
    await shards.until(() => shards.stat(one, 'depth\0letters') === 1);
    expect(zero.world.shard?.queueType('letters')).toBeUndefined();
  });

  it('Q6: waits while that queue is full, without being there twice', async () => {
    const shards = new TwoShards();
    const { zero, one } = shards;
    await shards.start();
    const orders = await shards.declare('orders', 0, toLetters);
    const full = { maxMessages: 1, overflow: 'reject-publish' } as const;
    const letters = await shards.declare('letters', 1, full);
    await shards.reject(zero, orders, ['a', 'b', 'c']);
    await shards.until(() => (shards.stat(zero, 'outbox/refused') ?? 0) >= 4);
    expect(await shards.texts(one, 'letters')).toHaveLength(1);
    expect(shards.stat(zero, 'outbox/open')).toBe(2);
    const got: string[] = [];
    const { client } = one;
    client.onDelivered = (delivery) => {
      got.push(delivery.text);
      client.settle(delivery, 'complete');
      client.grant(2, 1);
      client.send();
    };
    client.consume(2, letters, 1);
    client.send();
    await shards.until(() => got.length === 3);
    await shards.until(() => shards.stat(zero, 'outbox/open') === 0);
    expect(got.toSorted()).toEqual(['a', 'b', 'c']);
  });
});

describe('a move to a queue of another shard', () => {
  it('takes each message there once', async () => {
    const shards = new TwoShards();
    const { zero, one } = shards;
    await shards.start();
    const orders = await shards.declare('orders', 1);
    await shards.declare('spare', 0);
    const texts = Array.from({ length: 30 }, (_none, at) => `m${at}`);
    for (const text of texts) one.client.enqueue([orders], text);
    one.client.send();
    await shards.until(() => one.client.confirmed === texts.length);
    const move = { name: 'orders', group: 'default', to: 'spare', max: 100 };
    expect(await one.routed?.admin.move(move)).toBe(30);
    await shards.until(() => shards.stat(one, 'outbox/open') === 0);
    expect((await shards.texts(zero, 'spare')).toSorted()).toEqual(texts.toSorted());
    expect(await shards.texts(one, 'orders')).toEqual([]);
  });

  it('to a queue that nobody knows is refused', async () => {
    const shards = new TwoShards();
    await shards.start();
    await shards.declare('orders', 1);
    const move = { name: 'orders', group: 'default', to: 'nowhere', max: 100 };
    await expect(shards.one.routed?.admin.move(move)).rejects.toThrow('no queue nowhere');
  });
});

describe('a message on its way between shards', () => {
  const crashes = ['zero', 'one', 'both'] as const;

  it.each(crashes)(
    'Q31: is in one of both queues, once, after a crash of %s at any step',
    async (who) => {
      const seen = new Set<string>();
      for (let steps = 0; steps <= 14; steps++) {
        const shards = new TwoShards();
        const { zero, one } = shards;
        await shards.start();
        const orders = await shards.declare('orders', 0, toLetters);
        await shards.declare('letters', 1);
        await shards.byHand();
        await shards.reject(zero, orders, ['bad']);
        for (let step = 0; step < steps; step++) await shards.step();
        const open = shards.stat(zero, 'outbox/open') ?? 0;
        const there = await shards.texts(one, 'letters');
        seen.add(open === 1 ? `open, ${there.length} there` : `${there.length} there`);
        const crashed = who === 'both' ? [zero, one] : [shards[who]];
        for (const side of crashed) await shards.crash(side);
        for (const side of crashed) await shards.open(side);

        await shards.until(() => shards.stat(zero, 'outbox/open') === 0);
        await shards.step();
        const all = [
          ...(await shards.texts(zero, 'orders')),
          ...(await shards.texts(one, 'letters')),
        ];
        expect(all, `after ${steps} steps`).toEqual(['bad']);
        for (const { world } of [zero, one]) await world.syncUntil(world.stop());
      }
      expect([...seen].toSorted()).toEqual([
        '0 there',
        '1 there',
        'open, 0 there',
        'open, 1 there',
      ]);
    },
  );
});
