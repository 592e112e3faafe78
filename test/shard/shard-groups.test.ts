import { describe, expect, it } from 'vitest';
import type { GroupId, Offset, QueueId } from '../../src/machine/ids.ts';
import type { Delivered, PlainClient } from '../support/shard-world.ts';
import { ShardWorld, queue, turn, until } from '../support/shard-world.ts';

const ORDERS = 1 as QueueId;
const retry = { minMs: 100, maxMs: 1_000, multiplier: 2, jitter: 0 };

/** A shard with one queue, and time that passes as the test says. */
class Deliveries {
  readonly world = new ShardWorld();
  client = undefined as unknown as PlainClient;
  #seen = 0;

  static async open(limits = {}, type: 'classic' | 'stream' = 'classic'): Promise<Deliveries> {
    const it = new Deliveries();
    it.world.readingMs = 0;
    it.client = await it.world.open({
      queues: [{ ...queue('orders', { retry, ...limits }), type }],
    });
    return it;
  }

  async publish(count: number, more: { topic?: string; priority?: number } = {}): Promise<void> {
    const { client } = this;
    const topic = more.topic ?? '$queue/orders';
    const { priority = 0 } = more;
    const none = { ttlMs: 0, delayMs: 0, producer: undefined, key: undefined };
    const options = priority > 0 ? { options: { ...none, priority } } : {};
    for (let n = 0; n < count; n++) {
      client.enqueue([ORDERS], `m${n}`, { message: { topic }, ...options });
    }
    await this.settle();
    expect(client.confirmed).toBe(client.next - 1);
  }

  async consume(consumer: number, credit = 100, more = {}): Promise<void> {
    this.client.consume(consumer, ORDERS, credit, more);
    await this.settle();
  }

  /** Sends, and lets everything that follows happen. */
  async settle(): Promise<void> {
    this.client.send();
    for (let turns = 0; turns < 40; turns++) await turn();
  }

  async wait(ms: number): Promise<void> {
    this.world.monotonicMs += ms;
    // An answer makes the shard work at once, whatever its own timer waits for.
    await this.client.stats();
    await this.settle();
  }

  /** Deliveries since the last call. */
  news(): Delivered[] {
    const news = this.client.deliveries.slice(this.#seen);
    this.#seen = this.client.deliveries.length;
    return news;
  }

  who(): string[] {
    return this.news().map(({ consumer, offset }) => `${consumer}:${offset}`);
  }

  async say(delivery: Delivered | undefined, outcome: 'complete' | 'requeue' | 'discard') {
    if (delivery === undefined) throw new Error('no such delivery');
    this.client.settle(delivery, outcome);
    await this.settle();
  }

  async depth(): Promise<number | undefined> {
    const stats = await this.client.stats();
    return [...stats].find(([name]) => name.startsWith('depth'))?.[1];
  }
}

describe('groups of a shard', () => {
  it('Q1: three delivered, the first settled, the consumer dies: the other two come again', async () => {
    const shard = await Deliveries.open();
    await shard.publish(3);
    await shard.consume(1);
    await shard.say(shard.news()[0], 'complete');
    shard.client.closeConsumer(1, 'lost');
    await shard.consume(2);
    await shard.wait(100);
    expect(shard.news()).toMatchObject([
      { consumer: 2, offset: 1, attempt: 2, redelivered: true },
      { consumer: 2, offset: 2, attempt: 2, redelivered: true },
    ]);
  });

  it('Q2: a nack comes again to some member after the configured backoff, count + 1', async () => {
    const shard = await Deliveries.open();
    await shard.publish(1);
    await shard.consume(1);
    await shard.consume(2);
    for (const [attempt, backoff] of [
      [1, 100],
      [2, 200],
      [3, 400],
    ] as const) {
      const [delivery] = shard.news();
      expect(delivery).toMatchObject({ offset: 0, attempt });
      await shard.say(delivery, 'requeue');
      await shard.wait(backoff - 1);
      expect(shard.who()).toEqual([]);
      await shard.wait(1);
    }
  });

  it('Q10: each group gets all, settles for itself, and the depth is that of the slower', async () => {
    const shard = await Deliveries.open();
    await shard.consume(1, 100, { group: 'a' });
    await shard.consume(2, 100, { group: 'b' });
    await shard.publish(3);
    const news = shard.news();
    expect(news).toHaveLength(6);
    for (const delivery of news.filter(({ consumer }) => consumer === 1)) {
      await shard.say(delivery, 'complete');
    }
    expect(await shard.depth()).toBe(3);
  });

  it('Q10: one name with two filters is two groups, old messages and new ones', async () => {
    const shard = await Deliveries.open();
    await shard.publish(2, { topic: '$queue/orders/eu/1' });
    await shard.publish(1, { topic: '$queue/orders/us/1' });
    await shard.consume(1, 1, { group: 'a', filter: 'eu/+' });
    await shard.consume(2, 1, { group: 'a', filter: 'us/#' });
    await shard.publish(1, { topic: '$queue/orders/us/2' });
    expect(shard.who()).toEqual(['1:0', '2:2']);
    expect(shard.client.attached.get(1)?.name).toBe('a@eu/+');
    shard.client.grant(1, 9);
    shard.client.grant(2, 9);
    await shard.settle();
    expect(shard.who().sort()).toEqual(['1:1', '2:3']);
  });

  it('Q10: a malformed filter is refused, never match-all', async () => {
    const shard = await Deliveries.open();
    await shard.publish(1);
    await shard.consume(1, 9, { group: 'a', filter: '#/x' });
    expect(shard.client.cancelled).toEqual([[1, 'refused']]);
    expect(shard.who()).toEqual([]);
  });

  it('Q8: an expired message is never delivered and never pending', async () => {
    for (const type of ['classic', 'stream'] as const) {
      const shard = await Deliveries.open({ defaultGroup: 'shared' }, type);
      const { wallMs } = shard.world;
      const properties = { expirySeconds: 1 };
      const message = { topic: '$queue/orders', properties };
      shard.client.enqueue([ORDERS], 'short', { message, publishedAtMs: wallMs });
      shard.client.enqueue([ORDERS], 'long', { publishedAtMs: wallMs });
      await shard.settle();
      await shard.wait(1_001);
      await shard.consume(1);
      expect(shard.news().map(({ text }) => text)).toEqual(['long']);
      await shard.say(shard.client.deliveries[0], 'complete');
      await shard.wait(100);
      if (type === 'classic') expect(await shard.depth()).toBe(0);
    }
  });

  it('priorities go first, also those of a backlog after a crash', async () => {
    const shard = await Deliveries.open({ maxPriority: 9 });
    await shard.publish(2);
    await shard.publish(1, { priority: 9 });
    await shard.publish(1, { priority: 3 });
    shard.world.crash();
    shard.client = await shard.world.open({ queues: [] });
    await shard.consume(1);
    expect(shard.who()).toEqual(['1:2', '1:3', '1:0', '1:1']);
  });

  it('a single active consumer gets all until it is gone', async () => {
    const shard = await Deliveries.open({ singleActiveConsumer: true });
    await shard.consume(1);
    await shard.consume(2);
    await shard.publish(2);
    shard.client.closeConsumer(1, 'returned');
    await shard.settle();
    expect(shard.who()).toEqual(['1:0', '1:1', '2:0', '2:1']);
  });

  it('Q29: an automatic group is told idle and goes after its time, and its name is free', async () => {
    const shard = await Deliveries.open({ defaultGroup: 'client', groupExpiresMs: 1_000 });
    await shard.consume(1, 9, { clientId: 'random-1' });
    expect(shard.client.attached.get(1)?.name).toBe('random');
    shard.client.closeConsumer(1, 'lost');
    await shard.settle();
    await shard.wait(2_000);
    for (let turns = 0; turns < 20; turns++) await shard.wait(500);
    await shard.publish(1);
    await shard.consume(2, 9, { clientId: 'random-2' });
    expect(shard.client.attached.get(2)?.groupId).not.toBe(shard.client.attached.get(1)?.groupId);
    expect(shard.who()).toEqual(['2:0']);
  });
});

describe('streams of a shard', () => {
  const stream = { defaultGroup: 'client', groupStart: 'next' } as const;

  it('Q9: a late reader gets the history in order, and resumes where it stands', async () => {
    const shard = await Deliveries.open(stream, 'stream');
    await shard.publish(6);
    const first = { kind: 'first' } as const;
    await shard.consume(1, 3, { clientId: 'late', start: first });
    const news = shard.news();
    expect(news.map(({ offset }) => offset)).toEqual([0, 1, 2]);
    await shard.say(news[0], 'complete');
    await shard.say(news[1], 'complete');
    shard.client.closeConsumer(1, 'returned');
    await shard.settle();
    await shard.consume(2, 9, { clientId: 'late' });
    expect(shard.who()).toEqual(['2:2', '2:3', '2:4', '2:5']);
  });

  it('Q9: next, last and an offset, of new groups and of one that is there', async () => {
    const shard = await Deliveries.open(stream, 'stream');
    await shard.publish(5);
    await shard.consume(1, 9, { clientId: 'a' });
    await shard.consume(2, 9, { clientId: 'b', start: { kind: 'last' } });
    await shard.consume(3, 9, { clientId: 'c', start: { kind: 'offset', offset: 3 } });
    expect(shard.who()).toEqual(['2:4', '3:3', '3:4']);
    shard.client.closeConsumer(3, 'returned');
    await shard.settle();
    await shard.consume(4, 9, { clientId: 'c', start: { kind: 'offset', offset: 1 } });
    expect(shard.who()).toEqual(['4:1', '4:2', '4:3', '4:4']);
  });

  it('a commit moves the group, and is answered when it is applied', async () => {
    const shard = await Deliveries.open(stream, 'stream');
    await shard.consume(1, 9, { clientId: 'a' });
    await shard.publish(5);
    const place = { queueId: ORDERS, group: 'a', term: 0, deliveryNumber: 0 };
    shard.client.ask(5, { ...place, offset: 3 as Offset, outcome: 'commit' });
    await shard.settle();
    expect(shard.client.answers.get(5)).toBe('done');
    shard.client.closeConsumer(1, 'lost');
    await shard.settle();
    shard.who();
    await shard.consume(2, 9, { clientId: 'a' });
    expect(shard.who()).toEqual(['2:4']);
  });

  it('a nack counts no attempt and moves nothing, also after a crash', async () => {
    const shard = await Deliveries.open({ ...stream, deliveryLimit: 1 }, 'stream');
    await shard.consume(1, 9, { clientId: 'a' });
    await shard.publish(2);
    const news = shard.news();
    await shard.say(news[0], 'requeue');
    await shard.say(news[1], 'discard');
    shard.client.closeConsumer(1, 'lost');
    await shard.settle();
    shard.world.crash();
    shard.client = await shard.world.open({ queues: [] });
    await shard.consume(2, 9, { clientId: 'a' });
    expect(shard.client.deliveries).toMatchObject([
      { consumer: 2, offset: 0, attempt: 1, redelivered: true },
    ]);
  });
});

describe('settlements by name of a shard', () => {
  it('are answered by what became of them, and the manual consumer hears', async () => {
    const shard = await Deliveries.open();
    await shard.publish(3);
    await shard.consume(1, 9, { manual: true });
    const asks = shard.news().map(({ offset, term, deliveryNumber }) => ({
      queueId: ORDERS,
      group: 'default',
      offset: offset as Offset,
      term,
      deliveryNumber,
    }));
    const [first, second, third] = asks as [(typeof asks)[0], (typeof asks)[0], (typeof asks)[0]];
    shard.client.ask(1, { ...first, outcome: 'complete' });
    shard.client.ask(2, { ...first, outcome: 'complete' });
    shard.client.ask(3, { ...second, outcome: 'requeue' });
    shard.client.ask(4, { ...second, outcome: 'requeue' });
    shard.client.ask(5, { ...third, outcome: 'extend' });
    shard.client.ask(6, { ...third, group: 'none', outcome: 'complete' });
    shard.client.ask(7, { ...third, queueId: 77 as QueueId, outcome: 'complete' });
    await shard.settle();
    await until(() => shard.client.answers.size === 7);
    expect([...shard.client.answers].sort(([a], [b]) => a - b).map(([, each]) => each)).toEqual([
      'done',
      'already',
      'done',
      'stale',
      'done',
      'no-group',
      'no-queue',
    ]);
    expect(shard.client.ended).toEqual([
      [1, 0],
      [1, 1],
    ]);
  });

  it('Q25: of a group that was deleted and made again touches nothing', async () => {
    const shard = await Deliveries.open();
    await shard.publish(1);
    await shard.consume(1, 9, { group: 'a' });
    const [delivery] = shard.news();
    const groupId = shard.client.attached.get(1)?.groupId as GroupId;
    shard.world.propose({ kind: 'delete-group', queueId: ORDERS, groupId });
    await shard.settle();
    expect(shard.client.cancelled).toEqual([[1, 'group-deleted']]);
    await shard.consume(2, 0, { group: 'a' });
    await shard.say(delivery, 'complete');
    shard.client.grant(2, 1);
    await shard.settle();
    expect(shard.who()).toEqual(['2:0']);
  });
});
