/**
 * A node takes publishes, consumers and settlements for queues that another one leads: three shards
 * as replicas, the client of the product on each. A change of leader is seen by nobody.
 */

import { describe, expect, it } from 'vitest';
import type { ConsumeRequest, EnqueueWaiter, Offset } from '../../src/broker/ports.ts';
import type { QueueConsumer, QueueId } from '../../src/broker/ports.ts';
import type { ShardClient } from '../../src/shard/client.ts';
import { ShardCluster } from '../support/shard-cluster.ts';
import type { ShardNode } from '../support/shard-cluster.ts';
import { queue } from '../support/shard-world.ts';

const origin = { clientId: 'c', protocol: 'mqtt' } as const;

const numbered = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_value, at) => `m${first + at}`);

class Publisher implements EnqueueWaiter {
  readonly #client: ShardClient;
  sent = 0;
  readonly outcomes: unknown[] = [];
  readonly #order: number[] = [];

  constructor(client: ShardClient) {
    this.#client = client;
  }

  enqueued(tag: number, outcome: unknown): void {
    this.#order.push(tag);
    this.outcomes.push(outcome);
  }

  publish(texts: readonly string[]): void {
    const target = this.#client.queues.named('orders')?.queueId as QueueId;
    for (const text of texts) {
      const message = {
        topic: '$queue/orders',
        payload: Buffer.from(text),
        qos: 1,
        retain: false,
        properties: undefined,
      } as const;
      this.#client.enqueue([target], message, origin, this, this.sent++);
    }
  }

  get refused(): unknown[] {
    return this.outcomes.filter((outcome) => typeof outcome === 'string');
  }

  get isDone(): boolean {
    return this.outcomes.length === this.sent;
  }

  get isInOrder(): boolean {
    return this.#order.every((tag, at) => tag === at);
  }
}

interface Got {
  readonly text: string;
  readonly offset: Offset;
  readonly term: number;
  readonly number: number;
  readonly redelivered: boolean;
  readonly attempt: number;
}

class Taker {
  readonly got: Got[] = [];
  readonly consumer: QueueConsumer;
  attached = 0;
  cancelled: string | undefined;

  constructor(client: ShardClient, credit: number, wishes: Partial<ConsumeRequest> = {}) {
    const queueId = client.queues.named('orders')?.queueId as QueueId;
    const request = {
      queueId,
      clientId: 'taker',
      group: undefined,
      filter: '',
      start: undefined,
      credit,
      manual: false,
      ...wishes,
    };
    this.consumer = client.consume(request, {
      attached: () => void this.attached++,
      delivered: ({ message, offset, term, deliveryNumber, redelivered, attempt }) => {
        const text = Buffer.from(message.payload).toString();
        this.got.push({ text, offset, term, number: deliveryNumber, redelivered, attempt });
      },
      batchEnd: () => undefined,
      ended: () => undefined,
      cancelled: (reason) => {
        this.cancelled = reason;
      },
    });
  }

  settle(got: Got | undefined, outcome: 'complete' | 'requeue' | 'discard'): void {
    if (got === undefined) throw new Error('nothing was got');
    this.consumer.settle(got.offset, got.term, got.number, outcome);
  }

  get texts(): string[] {
    return this.got.map(({ text }) => text);
  }
}

interface World {
  readonly cluster: ShardCluster;
  readonly leader: ShardNode;
  readonly followers: readonly [ShardNode, ShardNode];
  readonly client: (node: ShardNode) => Promise<ShardClient>;
}

async function world(ackTimeoutMs = 1e9): Promise<World> {
  const cluster = new ShardCluster(undefined, { ackTimeoutMs, batchBytes: 4096 });
  cluster.queueLimits = { retry: { minMs: 10, maxMs: 10, multiplier: 1, jitter: 0 } };
  await cluster.start();
  const leader = await cluster.leading();
  const followers = cluster.nodes.filter((node) => node !== leader) as [ShardNode, ShardNode];
  return { cluster, leader, followers, client: (node) => cluster.routedClient(node.id) };
}

/** Steps until there is an answer. */
async function settled<T>(cluster: ShardCluster, answer: Promise<T>): Promise<T> {
  let isSettled = false;
  const end = (): void => void (isSettled = true);
  answer.then(end, end);
  await cluster.until(() => isSettled);
  return answer;
}

describe('a publish to a node that follows', () => {
  it('is stored by the leader, in order, and confirmed', async () => {
    const { cluster, leader, followers, client } = await world();
    const publisher = new Publisher(await client(followers[0]));
    publisher.publish(numbered(300));
    await cluster.until(() => publisher.isDone);
    expect(publisher.refused).toEqual([]);
    const taker = new Taker(await client(leader), 1000);
    await cluster.until(() => taker.got.length === 300);
    expect(taker.texts).toEqual(numbered(300));
  });

  it('C15: survives a change of leader: no error, none twice, the same order', async () => {
    const { cluster, leader, followers, client } = await world();
    const publishers = await Promise.all(
      followers.map(async (node) => new Publisher(await client(node))),
    );
    for (let round = 0; round < 6; round++) {
      for (const [nth, publisher] of publishers.entries()) {
        publisher.publish(numbered(40, nth * 1000 + round * 40));
      }
      // Somewhere between the first batch on its way and the last confirm.
      for (let steps = 0; steps < round; steps++) await cluster.step();
      if (round === 3) leader.crash();
    }
    await cluster.until(() => publishers.every(({ isDone }) => isDone));
    for (const publisher of publishers) {
      expect(publisher.refused).toEqual([]);
      expect(publisher.isInOrder).toBe(true);
    }
    const taker = new Taker(await client(followers[0]), 1000);
    await cluster.until(() => taker.got.length === 480);
    for (let steps = 0; steps < 50; steps++) await cluster.step();
    const of = (nth: number): string[] =>
      taker.texts.filter((text) => Math.floor(Number(text.slice(1)) / 1000) === nth);
    expect(of(0)).toEqual(numbered(240));
    expect(of(1)).toEqual(numbered(240, 1000));
  });

  it('waits for no time when the lead is handed over: whoever asks early is served in its turn', async () => {
    const { cluster, leader, followers, client } = await world();
    const [next, third] = followers;
    const publishers = await Promise.all(
      cluster.nodes.map(async (node) => new Publisher(await client(node))),
    );
    for (const publisher of publishers) publisher.publish(numbered(10));
    await cluster.until(() => publishers.every(({ isDone }) => isDone));
    expect(leader.raftLog?.transferLeadership(next.id).kind).toBe('started');
    for (const publisher of publishers) publisher.publish(numbered(10, 10));
    // Nothing that waits for a time goes on.
    for (let steps = 0; steps < 100; steps++) await cluster.step(0);
    expect(third.told.at(-1)).toEqual({ kind: 'there', server: next.id });
    expect(publishers.map(({ isDone }) => isDone)).toEqual([true, true, true]);
    expect(publishers.flatMap(({ refused }) => refused)).toEqual([]);
  });

  it('C13: without a quorum is told a timeout, and never confirmed', async () => {
    const { cluster, leader, followers, client } = await world(500);
    const publisher = new Publisher(await client(followers[0]));
    leader.crash();
    followers[1].crash();
    publisher.publish(['nowhere']);
    await cluster.until(() => publisher.isDone);
    expect(publisher.outcomes).toEqual(['timeout']);
  });

  it('comes through links that break, without a duplicate', async () => {
    const { cluster, followers, client } = await world();
    const publisher = new Publisher(await client(followers[0]));
    for (let round = 0; round < 10; round++) {
      publisher.publish(numbered(50, round * 50));
      for (let steps = 0; steps < round % 4; steps++) await cluster.step();
      cluster.links.breakAll();
    }
    await cluster.until(() => publisher.isDone);
    expect(publisher.refused).toEqual([]);
    const taker = new Taker(await client(followers[1]), 1000);
    await cluster.until(() => taker.got.length >= 500);
    for (let steps = 0; steps < 50; steps++) await cluster.step();
    expect(taker.texts).toEqual(numbered(500));
  });
});

describe('C19: a queue that another node declared', () => {
  it('is known to every node as soon as shard 0 has said where it lives', async () => {
    const { cluster, leader, followers, client } = await world();
    const declarer = await client(followers[0]);
    const others = [await client(leader), await client(followers[1])];
    for (let round = 0; round < 100; round++) {
      const name = `queue-${round}`;
      await settled(cluster, declarer.admin.declare(queue(name)));
      const [nth] = [round % others.length];
      const other = others[nth] as ShardClient;
      expect(await settled(cluster, other.places.where(name))).toMatchObject({ shard: 0 });
      expect(other.queues.named(name)).toBeDefined();
    }
  });

  it('a publish to one that is gone is handed over as it was sent, among others', async () => {
    const { cluster, followers, client } = await world();
    const publisher = await client(followers[0]);
    const { queueId } = publisher.queues.named('orders') ?? {};
    await settled(cluster, publisher.admin.declare(queue('other')));
    await settled(cluster, publisher.admin.delete('orders'));
    const other = publisher.queues.named('other')?.queueId as QueueId;
    const gone: unknown[] = [];
    publisher.onGone(({ message, origin: from, tag, key }) => {
      const { topic, payload, properties } = message;
      gone.push([tag, topic, Buffer.from(payload).toString(), properties, from, key]);
      return tag !== 3;
    });
    const told: [number, unknown][] = [];
    const waiter = { enqueued: (tag: number, outcome: unknown) => void told.push([tag, outcome]) };
    const properties = { userProperties: [['a', 'b']] as const };
    const key = { session: 's', ownerEpoch: 2, packetId: 7 };
    for (const tag of [0, 1, 2, 3]) {
      const target = tag === 0 ? other : (queueId as QueueId);
      const set = {
        qos: 1,
        retain: false,
        properties: tag === 2 ? properties : undefined,
      } as const;
      const message = { topic: `t/${tag}`, payload: Buffer.from(`${tag}`), ...set };
      publisher.enqueue([target], message, origin, waiter, tag, tag === 1 ? key : undefined);
    }
    await cluster.until(() => told.length === 2);
    expect(gone).toEqual([
      [1, 't/1', '1', undefined, origin, key],
      [2, 't/2', '2', properties, origin, undefined],
      [3, 't/3', '3', undefined, origin, undefined],
    ]);
    expect(told).toEqual([
      [0, expect.any(Number)],
      [3, 'no-queue'],
    ]);
  });
});

describe('a consumer at a node that follows', () => {
  it('gets messages, settles them, and goes on with the next leader', async () => {
    const { cluster, leader, followers, client } = await world();
    const publisher = new Publisher(await client(followers[1]));
    const taker = new Taker(await client(followers[0]), 10);
    publisher.publish(numbered(20));
    await cluster.until(() => taker.got.length === 10);
    for (const got of taker.got.slice(0, 5)) taker.settle(got, 'complete');
    taker.consumer.grant(5);
    await cluster.until(() => taker.got.length === 15 && leader.stat('depth\0orders') === 15);
    leader.crash();
    publisher.publish(numbered(10, 20));
    await cluster.until(() => publisher.isDone);
    taker.consumer.grant(20);
    await cluster.until(() => taker.got.length === 30);
    expect(taker.texts).toEqual(numbered(30));
    expect(taker.attached).toBe(1);
    expect(taker.cancelled).toBeUndefined();
    for (const got of taker.got.slice(5)) taker.settle(got, 'complete');
    const next = await cluster.leading();
    await cluster.until(() => next.stat('depth\0orders') === 0);
  });

  it('C17: after a change of leader gets nothing that another consumer still holds', async () => {
    const { cluster, leader, followers, client } = await world();
    const publisher = new Publisher(await client(followers[1]));
    const one = new Taker(await client(followers[0]), 4);
    const gone = new Taker(await client(leader), 4);
    publisher.publish(numbered(12));
    await cluster.until(() => one.got.length === 4 && gone.got.length === 4);
    leader.crash();
    const other = new Taker(await client(followers[1]), 100);
    await cluster.until(() => other.got.length === 8);
    for (let steps = 0; steps < 50; steps++) await cluster.step();
    expect(one.got.length).toBe(4);
    const notOne = numbered(12).filter((text) => !one.texts.includes(text));
    expect(other.texts).toEqual(notOne);
    // What was with the consumer that died is marked, and no attempt of its: nobody could tell.
    const again = other.got.filter(({ text }) => gone.texts.includes(text));
    expect(again.every(({ redelivered }) => redelivered)).toBe(true);
    expect(again.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1]);
  });

  it('Q27: requeues what it holds from the leader before, and completes it late', async () => {
    const { cluster, leader, followers, client } = await world();
    const publisher = new Publisher(await client(followers[1]));
    const one = new Taker(await client(followers[0]), 3);
    publisher.publish(numbered(3));
    await cluster.until(() => one.got.length === 3);
    leader.crash();
    const next = await cluster.leading();
    one.settle(one.got[0], 'complete');
    one.settle(one.got[1], 'requeue');
    one.consumer.grant(2);
    await cluster.until(() => one.got.length === 4);
    expect(one.got[3]).toMatchObject({ text: 'm1', attempt: 2, redelivered: true });
    one.settle(one.got[2], 'discard');
    one.settle(one.got[3], 'complete');
    await cluster.until(() => next.stat('depth\0orders') === 0);
  });

  it('a settlement that was on its way to the leader that died is not lost', async () => {
    const { cluster, leader, followers, client } = await world();
    const publisher = new Publisher(await client(followers[1]));
    const one = new Taker(await client(followers[0]), 10);
    publisher.publish(numbered(10));
    await cluster.until(() => one.got.length === 10);
    for (const got of one.got.slice(0, 6)) one.settle(got, 'complete');
    await cluster.step();
    leader.crash();
    const next = await cluster.leading();
    await cluster.until(() => next.stat('depth\0orders') === 4);
    one.consumer.close('returned');
    const two = new Taker(await client(followers[1]), 10);
    await cluster.until(() => two.got.length === 4);
    expect(two.texts).toEqual(numbered(4, 6));
  });

  it('that says where to begin is attached, wherever its link breaks meanwhile', async () => {
    const { cluster, followers, client } = await world();
    const publisher = new Publisher(await client(followers[1]));
    publisher.publish(numbered(5));
    await cluster.until(() => publisher.isDone);
    for (let after = 0; after < 8; after++) {
      const start = { kind: 'first' } as const;
      const one = new Taker(await client(followers[0]), 10, { start, group: `g${after}` });
      for (let steps = 0; steps < after; steps++) await cluster.step();
      cluster.links.breakAll();
      await cluster.until(() => one.cancelled !== undefined || one.got.length === 5);
      expect(one.cancelled).toBeUndefined();
      expect(one.texts).toEqual(numbered(5));
    }
  });

  it('keeps what it holds while its link breaks and comes again', async () => {
    const { cluster, leader, followers, client } = await world();
    const publisher = new Publisher(await client(leader));
    const one = new Taker(await client(followers[0]), 4);
    const other = new Taker(await client(followers[1]), 0);
    publisher.publish(numbered(8));
    await cluster.until(() => one.got.length === 4);
    cluster.links.breakAll();
    other.consumer.grant(100);
    await cluster.until(() => other.got.length === 4);
    for (let steps = 0; steps < 300; steps++) await cluster.step();
    expect(other.texts).toEqual(numbered(4, 4));
    one.settle(one.got[0], 'requeue');
    await cluster.until(() => other.got.length === 5);
    expect(other.got[4]).toMatchObject({ text: 'm0', attempt: 2 });
  });

  it('gets what was lost with its link before anything newer, each once', async () => {
    const { cluster, leader, followers, client } = await world();
    const publisher = new Publisher(await client(leader));
    const one = new Taker(await client(followers[0]), 1000);
    for (let round = 0; round < 30; round++) {
      // Some are on their way to it when the link breaks, others come while it attaches again.
      publisher.publish(numbered(10, round * 10));
      if (round % 3 === 2) cluster.links.breakAll();
      for (let steps = 0; steps < 1 + (round % 4); steps++) await cluster.step();
    }
    await cluster.until(() => publisher.isDone && one.got.length >= 300);
    for (let steps = 0; steps < 50; steps++) await cluster.step();
    expect(one.texts).toEqual(numbered(300));
  });
});
