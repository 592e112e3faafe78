/**
 * A publish behind the SUBACK of a durable session is for that session, on whichever node it comes:
 * also on one that does not hear. Three replicas, the client and the broker of the product on each.
 */

import { describe, expect, it } from 'vitest';
import { MemoryBroker } from '../../src/broker/broker.ts';
import type { PublishOutcome, SessionHandle } from '../../src/broker/ports.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { Offset } from '../../src/machine/ids.ts';
import { QueueClients } from '../../src/shard/queue-clients.ts';
import { ROUTE_STALE_MS } from '../../src/shard/route-lease.ts';
import { openVolatile } from '../support/many-shards.ts';
import { TestClock } from '../support/mqtt-server.ts';
import { ShardCluster } from '../support/shard-cluster.ts';

const LIMITS = { maxMessages: 1_000, maxBytes: 0, overflow: 'drop-head' } as const;
const ACK_TIMEOUT_MS = 10_000;

/** One node: its shards' client, and the broker over it. */
class Node {
  readonly id: string;
  readonly clients: QueueClients;
  readonly broker: MemoryBroker;
  /** By tag. */
  readonly told = new Map<number, string>();
  /** Its session's, if it has one. */
  readonly got: string[] = [];
  handle: SessionHandle | undefined;
  #tag = 0;

  constructor(id: string, clients: QueueClients) {
    this.id = id;
    this.clients = clients;
    this.broker = new MemoryBroker(clients, new TestClock());
  }

  publish(topic: string, text: string): { readonly tag: number; readonly outcome: PublishOutcome } {
    const tag = ++this.#tag;
    const message = { topic, payload: Buffer.from(text), qos: 1, retain: false } as const;
    const waiter = {
      enqueued: (of: number, outcome: number | string): void => {
        this.told.set(of, typeof outcome === 'number' ? 'done' : outcome);
      },
    };
    const origin = { clientId: 'p', protocol: 'mqtt' } as const;
    const publisher = { origin, subscriber: undefined, waiter, key: undefined };
    const outcome = this.broker.publish({ ...message, properties: undefined }, publisher, tag);
    if (outcome !== 'waiting') waiter.enqueued(tag, outcome);
    return { tag, outcome };
  }

  /** Of a client with a session on this node. */
  async claim(): Promise<void> {
    const { sessions } = this.clients;
    const who = { user: undefined, clientId: 'c', will: undefined };
    const { handle } = await sessions.claim({
      ...who,
      cleanStart: false,
      expirySeconds: 60,
      limits: LIMITS,
    });
    this.handle = handle;
    sessions.consume(handle, 100, {
      attached: () => undefined,
      batchEnd: () => undefined,
      ended: () => undefined,
      cancelled: () => undefined,
      delivered: ({ message }) => void this.got.push(Buffer.from(message.payload).toString()),
    });
  }

  async subscribe(filter: string): Promise<void> {
    const plain = { noLocal: false, retainAsPublished: false, identifier: 0, wish: '' } as const;
    const subscribe = [{ filter, qos: 1, ...plain, retainHandling: 0 } as const];
    const change = { subscribe, unsubscribe: [] };
    await this.clients.sessions.change(this.handle as SessionHandle, change);
  }
}

class World {
  readonly cluster = new ShardCluster(undefined, { ackTimeoutMs: ACK_TIMEOUT_MS });
  readonly nodes: Node[] = [];

  /** The one that leads first. */
  async start(): Promise<[Node, Node, Node]> {
    const { cluster } = this;
    await cluster.start();
    const leader = await cluster.leading();
    const monotonicMs = (): number => cluster.clock.monotonicMs();
    for (const { id } of cluster.nodes.toSorted((a, b) => rank(a, leader) - rank(b, leader))) {
      const zero = await cluster.routedClient(id);
      const inMemory = await this.cluster.done(openVolatile());
      const options = { isShared: true, ackTimeoutMs: ACK_TIMEOUT_MS, monotonicMs };
      this.nodes.push(new Node(id, new QueueClients(zero, inMemory.client, options)));
    }
    return this.nodes as [Node, Node, Node];
  }

  async published(node: Node, topic: string, text: string): Promise<string | undefined> {
    const { tag } = node.publish(topic, text);
    await this.cluster.until(() => node.told.has(tag));
    return node.told.get(tag);
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 10) await this.cluster.step(10);
  }

  get nowMs(): number {
    return this.cluster.clock.monotonicMs();
  }
}

function rank(node: unknown, leader: unknown): number {
  return node === leader ? 0 : 1;
}

/** What a node is that does not hear, and what makes it hear again. */
const DEAF = [
  [
    'is cut off',
    (cluster: ShardCluster, id: string) => cluster.isolate(id),
    (cluster: ShardCluster) => cluster.heal(),
  ],
  [
    'has links on which nothing comes',
    (cluster: ShardCluster, id: string) => void cluster.links.stalled.add(id),
    (cluster: ShardCluster) => cluster.links.stalled.clear(),
  ],
] as const;

describe('a publish on a node that does not hear', () => {
  it.each(DEAF)(
    '(it %s) is for nobody before the SUBACK alone: behind it, it waits, and comes',
    async (_what, deafen, undo) => {
      const world = new World();
      const [, near, far] = await world.start();
      await world.cluster.done(near.claim());
      expect(await world.published(far, 'a', 'before')).toBe('done');
      deafen(world.cluster, far.id);
      let isTold = false;
      const begunMs = world.nowMs;
      const subscribing = near.subscribe('a').then(() => void (isTold = true));
      // It goes on by what it knows, and acknowledges, for as long as nobody has heard SUBACK.
      let early = 0;
      for (let steps = 0; !isTold; steps++) {
        if (far.publish('a', `early ${steps}`).outcome !== 'waiting') early++;
        await world.cluster.step();
      }
      await subscribing;
      expect(early).toBeGreaterThan(10);
      expect(world.nowMs - begunMs).toBeGreaterThan(ROUTE_STALE_MS - 50);
      const late = far.publish('a', 'late');
      expect(late.outcome).toBe('waiting');
      await world.pass(3_000);
      expect(far.told.has(late.tag)).toBe(false);
      expect(near.got).toEqual([]);
      undo(world.cluster);
      await world.cluster.until(() => far.told.has(late.tag) && near.got.includes('late'));
      expect(far.told.get(late.tag)).toBe('done');
      // Also those that had waited already, and nothing twice.
      expect(new Set(near.got).size).toBe(near.got.length);
      expect(near.got.at(-1)).toBe('late');
    },
  );

  it('that led, and does not know that another one does: it waits, and comes', async () => {
    const world = new World();
    const [former, near, other] = await world.start();
    expect(await world.published(former, 'a', 'before')).toBe('done');
    world.cluster.isolate(former.id);
    await world.cluster.leading(world.cluster.node(former.id));
    await world.cluster.done(near.claim());
    await world.cluster.done(near.subscribe('a'));
    const late = former.publish('a', 'late');
    expect(late.outcome).toBe('waiting');
    await world.pass(2_000);
    expect(former.told.has(late.tag)).toBe(false);
    expect(await world.published(other, 'a', 'other')).toBe('done');
    world.cluster.heal();
    await world.cluster.until(() => near.got.length === 2 && former.told.has(late.tag));
    expect(near.got).toEqual(['other', 'late']);
    expect(former.told.get(late.tag)).toBe('done');
  });

  it('is refused when it hears nothing for ack_timeout', async () => {
    const world = new World();
    const [, , far] = await world.start();
    expect(await world.published(far, 'a', 'before')).toBe('done');
    world.cluster.isolate(far.id);
    await world.pass(1_000);
    const begunMs = world.nowMs;
    expect(await world.published(far, 'a', 'late')).toBe('unavailable');
    expect(world.nowMs - begunMs).toBeGreaterThanOrEqual(ACK_TIMEOUT_MS);
    expect(world.nowMs - begunMs).toBeLessThan(ACK_TIMEOUT_MS + 200);
  });
});

it('a node asks nobody while nobody publishes', async () => {
  const world = new World();
  const [, , far] = await world.start();
  expect(await world.published(far, 'a', '1')).toBe('done');
  await world.pass(1_000);
  const before = world.cluster.links.sentBy(far.id);
  await world.pass(5_000);
  expect(world.cluster.links.sentBy(far.id)).toBe(before);
});

describe('a SUBSCRIBE', () => {
  it('is held up by a node that went for the time of a lease, and then no more', async () => {
    const world = new World();
    const [, near, far] = await world.start();
    await world.cluster.done(near.claim());
    world.cluster.isolate(far.id);
    const begunMs = world.nowMs;
    await world.cluster.done(near.subscribe('a'));
    expect(world.nowMs - begunMs).toBeGreaterThan(ROUTE_STALE_MS);
    const laterMs = world.nowMs;
    await world.cluster.done(near.subscribe('b'));
    expect(world.nowMs - laterMs).toBeLessThan(200);
  });

  it('is held up at the beginning of a term by who has not come to its leader yet', async () => {
    const world = new World();
    const [former, near, far] = await world.start();
    await world.cluster.done(near.claim());
    expect(await world.published(far, 'a', 'before')).toBe('done');
    // It goes on voting, and reaches no leader.
    world.cluster.links.isolate(far.id);
    const { raftLog } = world.cluster.node(former.id);
    raftLog?.transferLeadership(near.id);
    const isSubscribed = { at: 0 };
    const begunMs = world.nowMs;
    await world.cluster.until(() => world.cluster.node(near.id).leads);
    const ledMs = world.nowMs;
    expect(ledMs - begunMs).toBeLessThan(ROUTE_STALE_MS - 100);
    await world.cluster.done(near.subscribe('a').then(() => void (isSubscribed.at = world.nowMs)));
    expect(isSubscribed.at - ledMs).toBeGreaterThan(ROUTE_STALE_MS - 100);
    expect(far.publish('a', 'late').outcome).toBe('waiting');
    world.cluster.heal();
    await world.cluster.until(() => near.got.includes('late'));
  });
});

describe('a declaration of a queue that captures', () => {
  const definition = {
    name: 'captured',
    type: 'classic',
    topics: ['a'],
    limits: DEFAULT_LIMITS,
  } as const;

  it('is held up by a node that does not hear, which then captures or waits', async () => {
    const world = new World();
    const [, near, far] = await world.start();
    expect(await world.published(far, 'a', 'before')).toBe('done');
    world.cluster.links.stalled.add(far.id);
    const begunMs = world.nowMs;
    await world.cluster.done(near.clients.admin.declare(definition));
    expect(world.nowMs - begunMs).toBeGreaterThan(ROUTE_STALE_MS - 50);
    const late = far.publish('a', 'late');
    expect(late.outcome).toBe('waiting');
    world.cluster.links.stalled.clear();
    await world.cluster.until(() => far.told.get(late.tag) === 'done');
    const stored = await world.cluster.done(near.clients.admin.peek('captured', 0 as Offset, 10));
    expect(stored.map(({ message }) => Buffer.from(message.payload).toString())).toEqual(['late']);
  });

  it('is told at once where it captures no ordinary topic', async () => {
    const world = new World();
    const [, near, far] = await world.start();
    world.cluster.links.stalled.add(far.id);
    const begunMs = world.nowMs;
    await world.cluster.done(
      near.clients.admin.declare({ ...definition, topics: ['$queue/captured/#'] }),
    );
    expect(world.nowMs - begunMs).toBeLessThan(200);
  });
});
