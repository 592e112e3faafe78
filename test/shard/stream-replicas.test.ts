/**
 * Consumers of a stream at nodes that follow: the leader says which message, their own replica has
 * it. Order, completeness, groups and settlements are as at the leader, whatever happens to links
 * and replicas.
 */

import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { ConsumeRequest, Offset, QueueConsumer, QueueId } from '../../src/broker/ports.ts';
import type { ShardClient } from '../../src/shard/client.ts';
import type { ShardLimits } from '../../src/shard/shard-limits.ts';
import { ShardCluster } from '../support/shard-cluster.ts';
import type { ShardNode } from '../support/shard-cluster.ts';

const MESSAGE_BYTES = 1_000;
const FIRST = { kind: 'first' } as const;

const textOf = (nth: number): string => `m${nth} ${'x'.repeat(MESSAGE_BYTES)}`;
const numbered = (count: number, first = 0): number[] =>
  Array.from({ length: count }, (_value, at) => first + at);

function streamOf(client: ShardClient): QueueId {
  return client.queues.named('orders')?.queueId as QueueId;
}

class Producer {
  readonly #client: ShardClient;
  sent = 0;
  confirmed = 0;
  readonly refused: unknown[] = [];

  constructor(client: ShardClient) {
    this.#client = client;
  }

  enqueued(_tag: number, outcome: unknown): void {
    this.confirmed++;
    if (typeof outcome === 'string') this.refused.push(outcome);
  }

  publish(count: number): void {
    for (let left = count; left > 0; left--) {
      const payload = Buffer.from(textOf(this.sent));
      const message = {
        topic: '$queue/orders',
        payload,
        qos: 1,
        retain: false,
        properties: undefined,
      } as const;
      const origin = { clientId: 'p', protocol: 'mqtt' } as const;
      this.#client.enqueue([streamOf(this.#client)], message, origin, this, this.sent++);
    }
  }

  get isDone(): boolean {
    return this.confirmed === this.sent;
  }
}

interface Got {
  readonly nth: number;
  readonly offset: Offset;
  readonly term: number;
  readonly number: number;
  readonly redelivered: boolean;
}

class Reader {
  readonly got: Got[] = [];
  readonly ended: number[] = [];
  readonly consumer: QueueConsumer;
  cancelled: string | undefined;

  constructor(client: ShardClient, group: string, wishes: Partial<ConsumeRequest> = {}) {
    const request = {
      queueId: streamOf(client),
      clientId: group,
      group,
      filter: '',
      start: FIRST,
      credit: 10_000,
      manual: false,
      ...wishes,
    };
    this.consumer = client.consume(request, {
      attached: () => undefined,
      delivered: ({ message, offset, term, deliveryNumber, redelivered }) => {
        const text = Buffer.from(message.payload).toString();
        const nth = Number(text.slice(1, text.indexOf(' ')));
        // Not of another message.
        expect(text).toBe(textOf(nth));
        this.got.push({ nth, offset, term, number: deliveryNumber, redelivered });
      },
      batchEnd: () => undefined,
      ended: (_offset, number) => void this.ended.push(number),
      cancelled: (reason) => {
        this.cancelled = reason;
      },
    });
  }

  settle({ offset, term, number }: Got): void {
    this.consumer.settle(offset, term, number, 'complete');
  }

  get numbers(): number[] {
    return this.got.map(({ nth }) => nth);
  }
}

interface World {
  readonly cluster: ShardCluster;
  readonly leader: ShardNode;
  readonly followers: readonly [ShardNode, ShardNode];
  readonly client: (node: ShardNode) => Promise<ShardClient>;
}

async function world(
  { readsReplica = true, limits = {} }: { readsReplica?: boolean; limits?: object } = {},
  shardLimits: Partial<ShardLimits> = {},
): Promise<World> {
  const cluster = new ShardCluster(undefined, { ackTimeoutMs: 1e9, batchBytes: 4096 });
  cluster.queueType = 'stream';
  cluster.queueLimits = { groupStart: 'first', ...limits };
  cluster.readsReplica = readsReplica;
  await cluster.start(shardLimits);
  const leader = await cluster.leading();
  const followers = cluster.nodes.filter((node) => node !== leader) as [ShardNode, ShardNode];
  for (const { id } of cluster.nodes) await cluster.routedClient(id);
  return { cluster, leader, followers, client: (node) => cluster.routedClient(node.id) };
}

async function steps(cluster: ShardCluster, count: number): Promise<void> {
  for (let left = count; left > 0; left--) await cluster.step();
}

/** What the leader has put into its links for readers at both followers, of so many messages. */
async function sentForReaders(readsReplica: boolean, count: number): Promise<number> {
  const { cluster, leader, followers, client } = await world({ readsReplica });
  const producer = new Producer(await client(leader));
  producer.publish(count);
  await cluster.until(() => producer.isDone);
  await steps(cluster, 20);
  const before = cluster.links.sentBy(leader.id);
  const readers: Reader[] = [];
  for (const node of followers) {
    for (const group of ['one', 'two'])
      readers.push(new Reader(await client(node), node.id + group));
  }
  await cluster.until(() => readers.every(({ got }) => got.length === count));
  await steps(cluster, 20);
  for (const reader of readers) expect(reader.numbers).toEqual(numbered(count));
  const read = followers.map(({ messagesRead }) => messagesRead);
  expect(read).toEqual(readsReplica ? [2 * count, 2 * count] : [0, 0]);
  return cluster.links.sentBy(leader.id) - before;
}

describe('a stream that is read at nodes that follow', () => {
  it('costs the leader names, and none of the messages', async () => {
    const count = 300;
    const forwarded = await sentForReaders(false, count);
    expect(forwarded).toBeGreaterThan(4 * count * MESSAGE_BYTES);
    const named = await sentForReaders(true, count);
    expect(named).toBeLessThan(4 * count * 10);
  });

  it('is read by a group of several nodes together: each message goes to one of them', async () => {
    const { cluster, leader, followers, client } = await world();
    const producer = new Producer(await client(leader));
    const wishes = { start: undefined };
    const readers: Reader[] = [];
    for (const node of [leader, ...followers]) {
      readers.push(new Reader(await client(node), 'shared', wishes));
    }
    for (let round = 0; round < 10; round++) {
      producer.publish(30);
      await steps(cluster, 2);
    }
    const all = (): number[] => readers.flatMap(({ numbers }) => numbers);
    await cluster.until(() => all().length >= 300);
    await steps(cluster, 50);
    expect(all().toSorted((a, b) => a - b)).toEqual(numbered(300));
    for (const { numbers } of readers) {
      expect(numbers.length).toBeGreaterThan(0);
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }
  });

  it('goes on elsewhere behind what was settled, and delivers none of that again', async () => {
    const { cluster, leader, followers, client } = await world();
    const producer = new Producer(await client(leader));
    producer.publish(100);
    await cluster.until(() => producer.isDone);
    const one = new Reader(await client(followers[0]), 'g', { start: undefined });
    await cluster.until(() => one.got.length === 100);
    for (const got of one.got.slice(0, 60)) one.settle(got);
    one.consumer.close('returned');
    const other = new Reader(await client(followers[1]), 'g', { start: undefined });
    await cluster.until(() => other.got.length >= 40);
    await steps(cluster, 50);
    expect(other.numbers).toEqual(numbered(40, 60));
    expect(followers[1].messagesRead).toBe(40);
  });

  it('shows nothing that its replica has not applied, and passes nothing over', async () => {
    const { cluster, leader, followers, client } = await world();
    const [slow] = followers;
    const producer = new Producer(await client(leader));
    const reader = new Reader(await client(slow), 'g');
    producer.publish(20);
    await cluster.until(() => reader.got.length === 20);
    cluster.passes = ({ kind, to }) => kind !== 'appendEntries' || to !== slow.id;
    producer.publish(20);
    await cluster.until(() => producer.isDone);
    await steps(cluster, 20);
    expect(reader.got.length).toBe(20);
    cluster.passes = () => true;
    await cluster.until(() => reader.got.length >= 40);
    await steps(cluster, 20);
    expect(reader.numbers).toEqual(numbered(40));
    expect(slow.messagesRead).toBe(40);
  });

  it('is there two ways between nodes and a turn later than the leader could have sent it', async () => {
    const stepsOf = async (readsReplica: boolean): Promise<number> => {
      const { cluster, leader, followers, client } = await world({ readsReplica });
      const producer = new Producer(await client(leader));
      const reader = new Reader(await client(followers[0]), 'g');
      let most = 0;
      for (let nth = 0; nth < 24; nth++) {
        // Apart from each other, so that no later entry tells what is committed, and anywhere
        // between two heartbeats.
        await steps(cluster, 11 + ((nth * 3) % 7));
        producer.publish(1);
        let taken = 0;
        for (; reader.got.length === nth; taken++) await cluster.step();
        most = Math.max(most, taken);
      }
      return most;
    };
    const forwarded = await stepsOf(false);
    // The question what is committed, its answer, and the turn in which a follower applies: behind
    // the write of what came with the commit.
    expect(await stepsOf(true)).toBeLessThanOrEqual(forwarded + 3);
  });

  it('comes from the leader where the replica does not get on', async () => {
    const { cluster, leader, followers, client } = await world();
    const [slow] = followers;
    const producer = new Producer(await client(leader));
    const reader = new Reader(await client(slow), 'g');
    producer.publish(20);
    await cluster.until(() => reader.got.length === 20);
    cluster.passes = ({ kind, to }) => kind !== 'appendEntries' || to !== slow.id;
    producer.publish(20);
    await cluster.until(() => reader.got.length >= 40);
    await steps(cluster, 20);
    expect(reader.numbers).toEqual(numbered(40));
    expect(slow.messagesRead).toBe(20);
    expect(slow.unread).toHaveLength(1);
  });

  it('lacks only what retention has removed meanwhile, and has all that is kept in its order', async () => {
    const { cluster, leader, followers, client } = await world({
      limits: { retention: { ageMs: 0, bytes: 0, messages: 50 } },
    });
    const [slow] = followers;
    const producer = new Producer(await client(leader));
    const reader = new Reader(await client(slow), 'g');
    producer.publish(20);
    await cluster.until(() => reader.got.length === 20);
    cluster.passes = ({ kind, to }) => kind !== 'appendEntries' || to !== slow.id;
    for (let round = 0; round < 20; round++) {
      producer.publish(50);
      await steps(cluster, 4);
    }
    cluster.passes = () => true;
    await cluster.until(() => producer.isDone && reader.numbers.at(-1) === 1_019);
    await steps(cluster, 20);
    const { numbers } = reader;
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers.slice(-50)).toEqual(numbered(50, 970));
    expect(slow.failures).toEqual([]);
  });

  it('does not show a delivery that was over before it was read, and shows its next one', async () => {
    const { cluster, leader, followers, client } = await world({
      limits: { visibilityTimeoutMs: 1_000 },
    });
    const [slow] = followers;
    const producer = new Producer(await client(leader));
    const reader = new Reader(await client(slow), 'g', { manual: true, credit: 5 });
    cluster.passes = ({ kind, to }) => kind !== 'appendEntries' || to !== slow.id;
    producer.publish(5);
    await steps(cluster, 120);
    cluster.passes = () => true;
    await cluster.until(() => reader.got.length >= 5);
    expect(reader.numbers).toEqual(numbered(5));
    // Its sink knows nothing of those that were over before.
    expect(Math.min(...reader.got.map(({ number }) => number))).toBe(6);
    expect(reader.ended).toEqual([]);
    expect(slow.messagesRead).toBe(10);
  });
});

/** So small that a few hundred messages leave the log. */
const SMALL = { checkpointLogBytes: 16_000, windowBytes: 16_000, spillBufferBytes: 8_192 };

describe('a replica with readers', () => {
  it('is read from its runs, what the log does not hold any more', async () => {
    const { cluster, leader, followers, client } = await world({}, SMALL);
    const producer = new Producer(await client(leader));
    for (let round = 0; round < 10; round++) {
      producer.publish(50);
      await cluster.until(() => producer.isDone);
    }
    await cluster.until(() => followers.every(({ log }) => (log?.start ?? 0) > 20));
    const readers = await Promise.all(
      followers.map(async (node) => new Reader(await client(node), node.id)),
    );
    await cluster.until(() => readers.every(({ got }) => got.length >= 500));
    for (const { numbers } of readers) expect(numbers).toEqual(numbered(500));
    expect(followers.map(({ messagesRead }) => messagesRead)).toEqual([500, 500]);
  });

  it('is replaced by a checkpoint: its readers go on, each message once', async () => {
    const { cluster, leader, followers, client } = await world({}, SMALL);
    const [behind] = followers;
    const producer = new Producer(await client(leader));
    const reader = new Reader(await client(behind), 'g');
    producer.publish(50);
    await cluster.until(() => reader.got.length === 50);
    cluster.passes = ({ kind, to }) => kind !== 'appendEntries' || to !== behind.id;
    for (let round = 0; round < 10; round++) {
      producer.publish(50);
      await cluster.until(() => producer.isDone);
    }
    const up = cluster.nodes.filter((node) => node !== behind);
    await cluster.until(() => up.every(({ log }) => (log?.start ?? 0) > 60));
    cluster.passes = () => true;
    await cluster.until(() => behind.replacements === 1 && behind.shard !== undefined);
    producer.publish(50);
    await cluster.until(() => reader.got.length >= 600);
    await steps(cluster, 50);
    expect(reader.numbers).toEqual(numbered(600));
    // Who comes now reads here again.
    const read = behind.messagesRead;
    const other = new Reader(await client(behind), 'h');
    await cluster.until(() => other.got.length >= 600);
    expect(other.numbers).toEqual(numbered(600));
    expect(behind.messagesRead - read).toBe(600);
    expect(cluster.nodes.flatMap(({ failures }) => failures)).toEqual([]);
  });

  it('is lost with its node; the readers of the next life go on behind what they settled', async () => {
    const { cluster, leader, followers, client } = await world();
    const [node] = followers;
    const producer = new Producer(await client(leader));
    const one = new Reader(await client(node), 'g', { start: undefined, credit: 50 });
    producer.publish(100);
    await cluster.until(() => one.got.length === 50);
    for (const got of one.got.slice(0, 30)) one.settle(got);
    await steps(cluster, 20);
    node.crash();
    producer.publish(20);
    await cluster.until(() => producer.isDone);
    await node.start();
    const again = new Reader(await client(node), 'g', { start: undefined });
    await cluster.until(() => again.got.length >= 90);
    await steps(cluster, 50);
    expect(again.numbers).toEqual(numbered(90, 30));
    expect(node.messagesRead).toBe(90);
  });
});

type Event =
  | { readonly kind: 'publish'; readonly count: number }
  | { readonly kind: 'steps'; readonly count: number }
  | { readonly kind: 'break' }
  | { readonly kind: 'settle'; readonly reader: number; readonly count: number }
  | { readonly kind: 'slow'; readonly node: number }
  | { readonly kind: 'restart'; readonly node: number }
  | { readonly kind: 'move' };

const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ kind: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 40 }) }),
  fc.record({ kind: fc.constant('steps' as const), count: fc.integer({ min: 1, max: 8 }) }),
  fc.constant({ kind: 'break' as const }),
  fc.record({
    kind: fc.constant('settle' as const),
    reader: fc.nat({ max: 2 }),
    count: fc.integer({ min: 1, max: 30 }),
  }),
  fc.record({ kind: fc.constant('slow' as const), node: fc.nat({ max: 2 }) }),
  fc.record({ kind: fc.constant('restart' as const), node: fc.nat({ max: 2 }) }),
  fc.constant({ kind: 'move' as const }),
);

describe('readers on all nodes, whatever happens', () => {
  it('get what the leader has, in its order, each once unless its node died', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 5, maxLength: 25 }), (events) => run(events)),
      { numRuns: 12 },
    );
  });
});

async function run(events: readonly Event[]): Promise<void> {
  const { cluster, client } = await world();
  const { nodes } = cluster;
  const readers = await Promise.all(
    nodes.map(async (node) => new Reader(await client(node), `of-${node.id}`)),
  );
  // One group of members at all nodes, where it stands.
  const shared = await Promise.all(
    nodes.map(async (node) => new Reader(await client(node), 'shared', { start: undefined })),
  );
  const died = new Set<Reader>();
  let producer = new Producer(await client(nodes[0] as ShardNode));
  let published = 0;
  for (const each of events) {
    switch (each.kind) {
      case 'publish':
        await cluster.until(() => producer.isDone);
        producer.publish(each.count);
        published += each.count;
        break;
      case 'steps':
        await steps(cluster, each.count);
        break;
      case 'break':
        cluster.links.breakAll();
        break;
      case 'settle':
        for (const got of readers[each.reader]?.got.slice(-each.count) ?? []) {
          readers[each.reader]?.settle(got);
        }
        break;
      case 'slow': {
        const { id } = nodes[each.node] as ShardNode;
        cluster.passes = ({ kind, to }) => kind !== 'appendEntries' || to !== id;
        await steps(cluster, 10);
        cluster.passes = () => true;
        break;
      }
      case 'restart': {
        await cluster.until(() => producer.isDone);
        const node = nodes[each.node] as ShardNode;
        died.add(readers[each.node] as Reader);
        node.crash();
        await steps(cluster, 5);
        await node.start();
        producer = await producerBehind(cluster, published);
        readers[each.node] = new Reader(await client(node), `of-${node.id}-again-${published}`);
        break;
      }
      case 'move': {
        const leader = await cluster.leading();
        const other = nodes.find((node) => node !== leader) as ShardNode;
        leader.raftLog?.replica.transferLeadership(other.id);
        break;
      }
    }
  }
  await cluster.until(() => producer.isDone);
  expect(producer.refused).toEqual([]);
  await cluster.until(() => readers.every(({ got }) => got.length >= published));
  const ofAll = (): number[] => shared.flatMap(({ numbers }) => numbers);
  await cluster.until(() => new Set(ofAll()).size === published || died.size > 0);
  await steps(cluster, 50);
  for (const { numbers } of readers) expect(numbers).toEqual(numbered(published));
  if (died.size === 0) expect(ofAll().toSorted((a, b) => a - b)).toEqual(numbered(published));
  for (const { numbers } of died) expect(numbers).toEqual(numbered(numbers.length));
  expect(nodes.flatMap(({ failures }) => failures)).toEqual([]);
}

/** Another one, that numbers on. */
async function producerBehind(cluster: ShardCluster, published: number): Promise<Producer> {
  const producer = new Producer(await cluster.routedClient('a'));
  producer.sent = published;
  producer.confirmed = published;
  return producer;
}
