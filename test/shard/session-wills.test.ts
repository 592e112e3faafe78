/** Wills of durable sessions over the port of the store: on one node, and on three. */

import { describe, expect, it } from 'vitest';
import type { ClaimedSession, ClaimRequest, DueWill, SessionWill } from '../../src/broker/ports.ts';
import type { ShardClient } from '../../src/shard/client.ts';
import type { SessionsOfAll } from '../../src/shard/session-store.ts';
import { ManyShards, definition } from '../support/many-shards.ts';
import { storeOf } from '../support/session-store-of.ts';
import { ShardCluster, type ShardNode } from '../support/shard-cluster.ts';
import { until } from '../support/shard-world.ts';

const LIMITS = { maxMessages: 1_000, maxBytes: 0, overflow: 'drop-head' } as const;
const origin = { clientId: 'c', user: 'ann', protocol: 'mqtt' } as const;
const LOST = { expirySeconds: 600, isInPeace: false };

function will(text: string, delaySeconds = 0): SessionWill {
  const properties = { contentType: 'x', expirySeconds: 9 };
  const payload = Buffer.from(text);
  return {
    origin,
    message: { topic: 'w', payload, qos: 1, retain: true, properties },
    delaySeconds,
  };
}

function wish(of: SessionWill | undefined, set: Partial<ClaimRequest> = {}): ClaimRequest {
  const who = { clientId: 'c', user: undefined, cleanStart: false, expirySeconds: 600 };
  return { ...who, limits: LIMITS, will: of, ...set };
}

/** What a node publishes; `answers` of the next ones, then true. */
class Published {
  readonly wills: DueWill[] = [];
  answers: boolean[] = [];

  readonly publish = (due: DueWill): Promise<boolean> => {
    this.wills.push(due);
    return Promise.resolve(this.answers.shift() ?? true);
  };

  get texts(): string[] {
    return this.wills.map(({ message }) => Buffer.from(message.payload).toString());
  }
}

describe('on one node', () => {
  async function setup(): Promise<{ shards: ManyShards; published: Published }> {
    const shards = await ManyShards.open();
    const published = new Published();
    shards.client.sessions.publishWills(published.publish);
    return { shards, published };
  }

  /** All that was said to the shard before is done, and what is due is taken. */
  async function settled(shards: ManyShards): Promise<void> {
    for (let turn = 0; turn < 3; turn++) await shards.wait(0);
  }

  it('is published as it was said, once, when the connection is lost', async () => {
    const { shards, published } = await setup();
    const { sessions } = shards.client;
    const { handle } = await sessions.claim(wish(will('gone')));
    await sessions.leave(handle, LOST);
    await until(() => published.wills.length > 0);
    const properties = { contentType: 'x', expirySeconds: 9 };
    const message = { topic: 'w', qos: 1, retain: true, properties };
    const keySession = `will/${handle.queueId}/1`;
    expect(published.wills).toMatchObject([{ origin, message, keySession }]);
    expect(published.texts).toEqual(['gone']);
    await settled(shards);
    await shards.wait(200_000);
    await settled(shards);
    expect(published.wills).toHaveLength(1);
  });

  it('is not published in peace, nor when its client is back in time', async () => {
    const { shards, published } = await setup();
    const { sessions } = shards.client;
    const first = await sessions.claim(wish(will('1')));
    await sessions.leave(first.handle, { ...LOST, isInPeace: true });
    const second = await sessions.claim(wish(will('2', 10)));
    await sessions.leave(second.handle, LOST);
    await shards.wait(9_000);
    const third = await sessions.claim(wish(undefined));
    await shards.wait(60_000);
    await sessions.leave(third.handle, LOST);
    await settled(shards);
    expect(published.wills).toEqual([]);
  });

  it('is published at the end of its delay, or of its session, or by a takeover without delay', async () => {
    const { shards, published } = await setup();
    const { sessions } = shards.client;
    const first = await sessions.claim(wish(will('1', 10)));
    await sessions.leave(first.handle, LOST);
    await shards.wait(11_000);
    await until(() => published.wills.length === 1);
    await sessions.claim(wish(will('2')));
    await sessions.claim(wish(will('3', 10)));
    await until(() => published.wills.length === 2);
    const fourth = await sessions.claim(wish(will('4', 10), { cleanStart: true }));
    await until(() => published.wills.length === 3);
    await sessions.leave(fourth.handle, { ...LOST, expirySeconds: 0 });
    await until(() => published.wills.length === 4);
    expect(published.texts).toEqual(['1', '2', '3', '4']);
    expect(await sessions.discard('c', undefined)).toBe(true);
  });

  it('that a client without a session replaces is published', async () => {
    const { shards, published } = await setup();
    await shards.client.sessions.claim(wish(will('old', 100)));
    await shards.client.sessions.discard('c', undefined);
    await until(() => published.wills.length === 1);
    expect(published.texts).toEqual(['old']);
  });

  it('that could not be published comes again, and its session waits for it', async () => {
    const { shards, published } = await setup();
    published.answers = [false, false];
    const { sessions } = shards.client;
    const { handle } = await sessions.claim(wish(will('gone')));
    await sessions.leave(handle, { ...LOST, expirySeconds: 1 });
    await until(() => published.wills.length === 1);
    await shards.wait(61_000);
    await until(() => published.wills.length === 2);
    expect(shards.client.queues.named('$session/c')).toBeDefined();
    await shards.wait(61_000);
    await until(() => published.wills.length === 3);
    await until(() => shards.client.queues.named('$session/c') === undefined);
    expect(new Set(published.texts)).toEqual(new Set(['gone']));
  });

  it('of a shard behind the first, that was there before anybody published wills', async () => {
    const shards = await ManyShards.open();
    await shards.make(1);
    shards.reach(1);
    // The next queue goes where fewer are.
    for (let at = 0; at < 3; at++) await shards.client.admin.declare(definition(`q${at}`));
    const { sessions } = shards.client;
    const clients = await Promise.all(
      ['a', 'b', 'c', 'd'].map((clientId) => sessions.claim(wish(will(clientId), { clientId }))),
    );
    expect(new Set(clients.map(({ handle }) => handle.queueId >= 2 ** 40)).size).toBe(2);
    for (const { handle } of clients) await sessions.leave(handle, LOST);
    const published = new Published();
    sessions.publishWills(published.publish);
    await shards.wait(61_000);
    await until(() => published.wills.length === 4);
    expect(published.texts.sort()).toEqual(['a', 'b', 'c', 'd']);
  });
});

describe('on three nodes', () => {
  class World {
    readonly cluster = new ShardCluster(undefined, { ackTimeoutMs: 1e9 });
    readonly #stores = new Map<ShardNode, SessionsOfAll>();
    readonly published = new Map<ShardNode, Published>();

    async start(): Promise<{ leader: ShardNode; others: [ShardNode, ShardNode] }> {
      await this.cluster.start();
      const leader = await this.cluster.leading();
      for (const node of this.cluster.nodes) {
        await this.cluster.routedClient(node.id);
        const store = storeOf(node.routed as ShardClient);
        this.#stores.set(node, store);
        const published = new Published();
        this.published.set(node, published);
        store.publishWills(published.publish);
      }
      const others = this.cluster.nodes.filter((node) => node !== leader);
      return { leader, others: others as [ShardNode, ShardNode] };
    }

    store(node: ShardNode): SessionsOfAll {
      return this.#stores.get(node) as SessionsOfAll;
    }

    of(node: ShardNode): Published {
      return this.published.get(node) as Published;
    }

    get count(): number {
      return [...this.published.values()].reduce((sum, { wills }) => sum + wills.length, 0);
    }

    claim(node: ShardNode, request: ClaimRequest): Promise<ClaimedSession> {
      return this.cluster.done(this.store(node).claim(request));
    }

    /** So much time passes. */
    async pass(ms: number): Promise<void> {
      const end = this.cluster.clock.monotonicMs() + ms;
      await this.cluster.until(() => this.cluster.clock.monotonicMs() >= end);
    }
  }

  it('is published by the node that lost the client', async () => {
    const world = new World();
    const { others } = await world.start();
    const [a, b] = others;
    for (const node of [a, b, a]) {
      const { handle } = await world.claim(node, wish(will('w')));
      const before = world.of(node).wills.length;
      await world.cluster.done(world.store(node).leave(handle, LOST));
      await world.cluster.until(() => world.of(node).wills.length === before + 1);
    }
    await world.pass(70_000);
    expect(world.count).toBe(3);
  });

  it('of a node that is gone is published by another one, once', async () => {
    const world = new World();
    const { others } = await world.start();
    const [a, b] = others;
    const { handle } = await world.claim(a, wish(will('w', 5)));
    expect(handle.ownerEpoch).toBe(1);
    world.cluster.links.isolate(a.id);
    // Nobody consumes for 30 s: its owner is missed.
    await world.cluster.until(() => world.count > 0);
    expect(world.of(a).wills).toEqual([]);
    await world.pass(130_000);
    expect(world.count).toBe(1);
    world.cluster.heal();
    const next = await world.claim(b, wish(undefined));
    expect(next.present).toBe(true);
    await world.pass(70_000);
    expect(world.count).toBe(1);
  });

  it('is not offered to what a node asked before it was gone', async () => {
    const world = new World();
    const { others } = await world.start();
    const [a, b] = others;
    // Each time what it asked the leader before is left behind.
    for (let times = 0; times < 4; times++) {
      world.cluster.links.isolate(a.id);
      await world.pass(3_000);
      world.cluster.heal();
      await world.pass(3_000);
    }
    // Whoever waits longest comes first: each of them has its turn.
    for (let nth = 1; nth <= 8; nth++) {
      const { handle } = await world.claim(b, wish(will('w', 5)));
      await world.cluster.done(world.store(b).leave(handle, LOST));
      const begun = world.cluster.clock.monotonicMs();
      await world.cluster.until(() => world.count === nth);
      expect(world.cluster.clock.monotonicMs() - begun).toBeLessThan(10_000);
    }
  });

  it('that is due when the leader dies is offered by the next one until it is published', async () => {
    const world = new World();
    const { leader, others } = await world.start();
    const [a] = others;
    for (const node of world.cluster.nodes) world.of(node).answers = [false];
    const { handle } = await world.claim(a, wish(will('w')));
    await world.cluster.done(world.store(a).leave(handle, LOST));
    await world.cluster.until(() => world.count === 1);
    for (const node of world.cluster.nodes) world.of(node).answers = [];
    leader.crash();
    await world.cluster.leading(leader);
    await world.cluster.until(() => world.count === 2);
    await world.pass(130_000);
    expect(world.count).toBe(2);
  });
});
