/** Durable sessions over their port, through real shards in one process. */

import { describe, expect, it } from 'vitest';
import type {
  ClaimedSession,
  ClaimRequest,
  ConsumerSink,
  Delivery,
  Offset,
  PublishKey,
  QueueConsumer,
  QueueId,
  SessionHandle,
  StoredSubscription,
} from '../../src/broker/ports.ts';
import {
  DiskOfZero,
  ManyShards,
  Taker,
  answered,
  definition,
  publish,
} from '../support/many-shards.ts';
import { until } from '../support/shard-world.ts';
import { MAX_TARGETS } from '../../src/machine/command.ts';

const LIMITS = { maxMessages: 1_000, maxBytes: 0, overflow: 'drop-head' } as const;

function subscription(filter: string, qos: 0 | 1 | 2 = 1): StoredSubscription {
  const plain = { noLocal: false, retainAsPublished: false, identifier: 0, wish: '' } as const;
  return { filter, qos, ...plain, retainHandling: 0 };
}

/** Holds what it is given until it is told to settle. */
class Owner implements ConsumerSink {
  readonly got: {
    text: string;
    offset: Offset;
    attempt: number;
    redelivered: boolean;
    name: [number, number];
  }[] = [];
  readonly cancellations: string[] = [];
  isAttached = false;
  readonly consumer: QueueConsumer;

  constructor(shards: ManyShards, handle: SessionHandle, credit = 100) {
    this.consumer = shards.client.sessions.consume(handle, credit, this);
  }

  attached(): void {
    this.isAttached = true;
  }

  batchEnd(): void {}
  ended(): void {}

  cancelled(reason: string): void {
    this.cancellations.push(reason);
  }

  delivered({ message, offset, attempt, redelivered, term, deliveryNumber }: Delivery): void {
    const text = Buffer.from(message.payload).toString();
    this.got.push({ text, offset, attempt, redelivered, name: [term, deliveryNumber] });
  }

  settle(at: number, outcome: 'complete' | 'discard' = 'complete'): void {
    const { offset, name } = this.got[at] as (typeof this.got)[0];
    this.consumer.settle(offset, ...name, outcome);
  }

  async texts(count: number): Promise<string[]> {
    await until(() => this.got.length >= count);
    return this.got.map(({ text }) => text);
  }

  async over(): Promise<readonly string[]> {
    await until(() => this.cancellations.length > 0);
    return this.cancellations;
  }
}

function claim(
  shards: ManyShards,
  clientId: string,
  set: Partial<ClaimRequest> = {},
): Promise<ClaimedSession> {
  const who = { user: undefined, cleanStart: false, expirySeconds: 60 };
  const plain = { ...who, limits: LIMITS, will: undefined };
  return shards.client.sessions.claim({ clientId, ...plain, ...set });
}

async function publishAll(
  shards: ManyShards,
  queueIds: readonly QueueId[],
  texts: readonly string[],
): Promise<void> {
  for (const text of texts) {
    expect(await publish(shards.client, queueIds, text)).toEqual(expect.any(Number));
  }
}

const depthOf = async (shards: ManyShards, name: string): Promise<number> =>
  (await shards.client.admin.show(name)).depth;

const stale = expect.objectContaining({ name: 'SessionError', code: 'stale-owner' });

describe('a session', () => {
  it('is made with its first claim, and captures by what it subscribes to as soon as that is told', async () => {
    const shards = await ManyShards.open();
    const { sessions } = shards.client;
    const { handle, present, subscriptions, halves } = await claim(shards, 'c/1');
    expect({ present, subscriptions, halves }).toEqual({
      present: false,
      subscriptions: [],
      halves: [],
    });
    const name = sessions.queueNameOf('c/1');
    expect(shards.client.queues.named(name)).toMatchObject({ type: 'session', topics: [] });
    const subscribe = [subscription('a/#'), subscription('b', 0), subscription('c', 2)];
    await sessions.change(handle, { subscribe, unsubscribe: [] });
    expect(shards.client.queues.named(name)?.topics).toEqual(['a/#', 'c']);
    await sessions.change(handle, { subscribe: [], unsubscribe: ['a/#'] });
    expect(shards.client.queues.named(name)?.topics).toEqual(['c']);
    const again = await claim(shards, 'c/1');
    expect(again).toMatchObject({ present: true, subscriptions: subscribe.slice(1) });
    expect(again.handle).toEqual({ ...handle, ownerEpoch: 2 });
  });

  it('with a new owner: the former hears it, what it held comes again at once, in order, marked', async () => {
    const shards = await ManyShards.open();
    const first = await claim(shards, 'c');
    const former = new Owner(shards, first.handle, 3);
    const { queueId } = first.handle;
    await publishAll(shards, [queueId], ['1', '2', '3', '4', '5']);
    await former.texts(3);
    former.settle(1);
    const second = await claim(shards, 'c');
    expect(second.present).toBe(true);
    const owner = new Owner(shards, second.handle);
    expect(await owner.texts(4)).toEqual(['1', '3', '4', '5']);
    expect(owner.got.map(({ redelivered }) => redelivered)).toEqual([true, true, false, false]);
    expect(await former.over()).toEqual(['taken-over']);
    // It settles nothing any more but what it has processed; a discard counts as that.
    owner.settle(0, 'discard');
    owner.settle(1);
    owner.settle(2);
    owner.settle(3);
    await until(() => owner.cancellations.length === 0);
    await untilDepth(shards, 'c', 0);
  });

  it('gives a message again as often as its owner is lost, at once, in order; never out of time', async () => {
    const shards = await ManyShards.open();
    const { handle } = await claim(shards, 'c');
    await publishAll(shards, [handle.queueId], ['1', '2', '3']);
    for (let lost = 0; lost < 25; lost += 1) {
      const owner = new Owner(shards, handle);
      expect(await owner.texts(3)).toEqual(['1', '2', '3']);
      expect(owner.got.map(({ attempt }) => attempt)).toEqual([1, 1, 1]);
      owner.consumer.close('lost');
    }
    const slow = new Owner(shards, handle);
    await slow.texts(3);
    // Longer than any queue lets a consumer hold a message.
    await shards.wait(31 * 24 * 3_600_000);
    await publishAll(shards, [handle.queueId], ['4']);
    expect(await slow.texts(4)).toEqual(['1', '2', '3', '4']);
    await untilDepth(shards, 'c', 4);
  });

  it('of a former owner: nothing is changed, nor consumed', async () => {
    const shards = await ManyShards.open();
    const { sessions } = shards.client;
    const { handle } = await claim(shards, 'c');
    await publishAll(shards, [handle.queueId], ['1']);
    const { handle: current } = await claim(shards, 'c');
    const change = { subscribe: [subscription('x')], unsubscribe: [] };
    await expect(sessions.change(handle, change)).rejects.toEqual(stale);
    await expect(sessions.halve(handle, 0 as Offset)).rejects.toEqual(stale);
    await expect(sessions.finish(handle, 0 as Offset)).rejects.toEqual(stale);
    await expect(sessions.leave(handle, { expirySeconds: 0, isInPeace: true })).rejects.toEqual(
      stale,
    );
    await expect(sessions.receive(handle, 1)).rejects.toEqual(stale);
    const late = new Owner(shards, handle);
    expect(await late.over()).toEqual(['taken-over']);
    const owner = new Owner(shards, current);
    expect(await owner.texts(1)).toEqual(['1']);
    // Also when the group is there already.
    const later = new Owner(shards, handle);
    expect(await later.over()).toEqual(['taken-over']);
    expect([late.got, later.got, owner.cancellations]).toEqual([[], [], []]);
  });

  it('keeps what is halfway until it is finished, and delivers it no more', async () => {
    const shards = await ManyShards.open();
    const { sessions } = shards.client;
    const { handle } = await claim(shards, 'c');
    const owner = new Owner(shards, handle);
    await publishAll(shards, [handle.queueId], ['1', '2', '3']);
    await owner.texts(3);
    for (const at of [0, 2]) await sessions.halve(handle, owner.got[at]?.offset as Offset);
    const second = await claim(shards, 'c');
    expect(second.halves).toEqual([0, 2]);
    await sessions.finish(second.handle, 0 as Offset);
    await sessions.finish(second.handle, 0 as Offset);
    const next = new Owner(shards, second.handle);
    expect(await next.texts(1)).toEqual(['2']);
    expect((await claim(shards, 'c')).halves).toEqual([2]);
  });

  it('starts clean: what waited is gone, and was in flight too', async () => {
    const shards = await ManyShards.open();
    const { sessions } = shards.client;
    const { handle } = await claim(shards, 'c');
    const former = new Owner(shards, handle, 1);
    await sessions.change(handle, { subscribe: [subscription('a')], unsubscribe: [] });
    await publishAll(shards, [handle.queueId], ['1', '2', '3']);
    await former.texts(1);
    const clean = await claim(shards, 'c', { cleanStart: true });
    expect(clean).toMatchObject({ present: false, subscriptions: [], halves: [] });
    expect(clean.handle.incarnation).not.toBe(handle.incarnation);
    const owner = new Owner(shards, clean.handle);
    await publishAll(shards, [handle.queueId], ['4']);
    expect(await owner.texts(1)).toEqual(['4']);
    expect(await former.over()).toEqual(['taken-over']);
  });

  it('is nobody else to consume, to settle, to declare or to publish to by a dead letter', async () => {
    const shards = await ManyShards.open();
    const { client } = shards;
    const { handle } = await claim(shards, 'c');
    const { queueId } = handle;
    const refused: string[] = [];
    const plain = { group: undefined, filter: '', start: undefined, manual: false };
    const sink = { attached() {}, delivered() {}, batchEnd() {}, ended() {} };
    const cancelled = (reason: string): void => void refused.push(reason);
    client.consume({ ...plain, queueId, clientId: 't', credit: 1 }, { ...sink, cancelled });
    await client.admin.declare(definition('orders'));
    const orders = { ...handle, queueId: shards.idOf('orders') };
    client.sessions.consume(orders, 1, { ...sink, cancelled });
    await until(() => refused.length === 2);
    expect(refused).toEqual(['refused', 'refused']);
    const told: string[] = [];
    const ask = { queueId, group: 'default', offset: 0 as Offset, term: 1, deliveryNumber: 1 };
    const waiter = { settled: (_tag: number, answer: string): void => void told.push(answer) };
    client.settle({ ...ask, outcome: 'complete' }, waiter, 1);
    await until(() => told.length > 0);
    expect(told).toEqual(['no-queue']);
    const invalid = expect.objectContaining({ code: 'invalid' });
    const other = definition('$session/x', { type: 'session' });
    await expect(client.admin.declare(other)).rejects.toEqual(invalid);
    await expect(client.admin.declare(definition('$session/x'))).rejects.toEqual(invalid);
    const move = { name: 'orders', group: 'default', to: '$session/c', max: 1 };
    await expect(client.admin.move(move)).rejects.toEqual(invalid);
    const stats = await shards.clients.get(0)?.stats();
    const rows = [...(stats?.keys() ?? [])].filter((name) => name.includes('\0'));
    expect(rows.some((name) => name.includes('orders'))).toBe(true);
    expect(rows.filter((name) => name.includes('$session/'))).toEqual([]);
  });

  it('is one too many above the bound; one that is there goes on', async () => {
    const shards = await ManyShards.open({ maxSessions: 2 });
    await claim(shards, 'a');
    await claim(shards, 'b');
    const tooMany = expect.objectContaining({ code: 'too-many-sessions' });
    await expect(claim(shards, 'c')).rejects.toEqual(tooMany);
    expect(await claim(shards, 'b')).toMatchObject({ present: true });
    expect(await shards.client.sessions.discard('a', undefined)).toBe(true);
    await until(() => shards.client.queues.sessionCount === 1);
    expect(await claim(shards, 'c')).toMatchObject({ present: false });
  });

  it('of another user is neither claimed nor discarded, nor is its owner disturbed', async () => {
    const shards = await ManyShards.open();
    const { handle } = await claim(shards, 'c', { user: 'ann' });
    const others = expect.objectContaining({ name: 'SessionError', code: 'other-user' });
    await expect(claim(shards, 'c', { user: 'bob' })).rejects.toEqual(others);
    await expect(claim(shards, 'c', { user: '', cleanStart: true })).rejects.toEqual(others);
    await expect(shards.client.sessions.discard('c', 'bob')).rejects.toEqual(others);
    await shards.client.sessions.change(handle, {
      subscribe: [subscription('a')],
      unsubscribe: [],
    });
    const again = await claim(shards, 'c', { user: 'ann' });
    expect(again).toMatchObject({ present: true, subscriptions: [{ filter: 'a' }] });
  });

  it('may subscribe to so much, all or nothing, and no client id is none', async () => {
    const shards = await ManyShards.open();
    const { handle } = await claim(shards, 'c');
    const subscribe = Array.from({ length: 10_001 }, (_, at) => subscription(`${at}`));
    const change = { subscribe, unsubscribe: [] };
    const tooMany = expect.objectContaining({ code: 'too-many-subscriptions' });
    await expect(shards.client.sessions.change(handle, change)).rejects.toEqual(tooMany);
    const invalid = expect.objectContaining({ code: 'invalid' });
    await expect(claim(shards, '')).rejects.toEqual(invalid);
    await expect(claim(shards, 'a\uD800')).rejects.toEqual(invalid);
  });
});

async function untilDepth(shards: ManyShards, clientId: string, depth: number): Promise<void> {
  const name = shards.client.sessions.queueNameOf(clientId);
  for (let left = 100; left > 0; left -= 1) {
    if ((await depthOf(shards, name)) === depth) return;
  }
  throw new Error(`the depth is ${await depthOf(shards, name)}`);
}

describe('the end of a session', () => {
  it.each([0, 1])('in shard %i: its queue goes, its place, and its keys', async (shard) => {
    const shards = await ManyShards.open();
    await shards.make(1);
    shards.reach(1);
    // Of the emptiest shard: there are two queues in the other one.
    const others = shard === 0 ? 1 : 0;
    for (const name of ['x', 'y', 'z']) {
      const { places } = shards.clients.get(0) as NonNullable<
        ReturnType<typeof shards.clients.get>
      >;
      const place = await places.place(name, [others], '');
      const placed = others === 0 ? {} : { placed: place.version };
      await shards.clients.get(others)?.admin.declare({ ...definition(name), ...placed });
    }
    const { sessions } = shards.client;
    const { handle } = await claim(shards, 'c');
    expect(handle.queueId >= 2 ** 40).toBe(shard === 1);
    const key = { session: handle.incarnation, ownerEpoch: 1, packetId: 7 };
    const targets = [handle.queueId, shards.idOf('x')];
    expect(await publish(shards.client, targets, 'k', key)).toEqual(expect.any(Number));
    const owner = new Owner(shards, handle);
    await owner.texts(1);
    owner.consumer.close('returned');
    await sessions.leave(handle, { expirySeconds: 5, isInPeace: true });
    await shards.wait(4_000);
    expect(shards.client.queues.named('$session/c')).toBeDefined();
    await shards.wait(2_000);
    await until(() => shards.client.queues.named('$session/c') === undefined);
    const zero = shards.clients.get(0);
    for (let left = 100; (await zero?.places.where('$session/c')) !== undefined; left -= 1) {
      expect(left).toBeGreaterThan(0);
    }
    // The keys went everywhere: it is stored again.
    const before = await depthOf(shards, 'x');
    await publish(shards.client, [shards.idOf('x')], 'k', key);
    expect(await depthOf(shards, 'x')).toBe(before + 1);
    await expect(sessions.leave(handle, { expirySeconds: 5, isInPeace: true })).rejects.toEqual(
      stale,
    );
    expect(await claim(shards, 'c')).toMatchObject({ present: false });
  });

  it('comes at once where nothing is to be kept: a clean client leaves nothing', async () => {
    const shards = await ManyShards.open();
    const { handle } = await claim(shards, 'c');
    const former = new Owner(shards, handle);
    await until(() => former.isAttached);
    expect(await shards.client.sessions.discard('nobody', undefined)).toBe(false);
    expect(await shards.client.sessions.discard('c', undefined)).toBe(true);
    expect(await former.over()).toEqual(['taken-over']);
    await shards.wait(200);
    await until(() => shards.client.queues.named('$session/c') === undefined);
    expect(await shards.client.sessions.discard('c', undefined)).toBe(false);
  });

  it('is counted for an owner who is missed, and no more when he consumes again', async () => {
    const shards = await ManyShards.open();
    const { handle } = await claim(shards, 'c', { expirySeconds: 10 });
    await claim(shards, 'kept', { expirySeconds: 10 }).then(async (kept) => {
      const owner = new Owner(shards, kept.handle);
      await until(() => owner.isAttached);
    });
    const owner = new Owner(shards, handle);
    await until(() => owner.isAttached);
    owner.consumer.close('lost');
    await shards.wait(0);
    await shards.wait(29_000);
    await shards.wait(2_000);
    // Missed by now: its end is in 10 s. He is there after all.
    const again = new Owner(shards, handle);
    await until(() => again.isAttached);
    await shards.wait(20_000);
    await shards.wait(1_000);
    expect(shards.client.queues.named('$session/c')).toBeDefined();
    again.consumer.close('lost');
    await shards.wait(0);
    await shards.wait(31_000);
    await shards.wait(0);
    await shards.wait(11_000);
    await shards.wait(200);
    await until(() => shards.client.queues.named('$session/c') === undefined);
    expect(shards.client.queues.named('$session/kept')).toBeDefined();
  });
});

describe('after the broker was killed', () => {
  it('a session is as it was, fences too, and its end is counted from then', async () => {
    const disk = new DiskOfZero();
    const before = await ManyShards.open({}, disk);
    const subscribe = [subscription('a/#', 2), subscription('$share/g/b')];
    const { handle } = await claim(before, 'c', { expirySeconds: 10 });
    await before.client.sessions.change(handle, { subscribe, unsubscribe: [] });
    const owner = new Owner(before, handle);
    await publishAll(before, [handle.queueId], ['1', '2', '3', '4']);
    await owner.texts(4);
    await before.client.sessions.halve(handle, 1 as Offset);
    owner.settle(0);
    await untilDepth(before, 'c', 2);
    const { handle: second } = await claim(before, 'c', { expirySeconds: 10 });
    expect(await before.client.sessions.receive(second, 77)).toBe('new');
    disk.crash();

    const after = await ManyShards.open({}, disk);
    const { sessions } = after.client;
    expect(after.client.queues.named('$session/c')?.topics).toEqual(['a/#']);
    await expect(sessions.halve(handle, 2 as Offset)).rejects.toEqual(stale);
    expect(await sessions.receive(second, 77)).toBe('known');
    const third = await claim(after, 'c', { expirySeconds: 10 });
    expect(third).toMatchObject({ present: true, subscriptions: subscribe, halves: [1] });
    expect(third.handle.ownerEpoch).toBe(3);
    const again = new Owner(after, third.handle);
    expect(await again.texts(2)).toEqual(['3', '4']);
    expect(again.got.map(({ redelivered }) => redelivered)).toEqual([true, true]);
    disk.crash();

    const last = await ManyShards.open({}, disk);
    await last.wait(29_000);
    await last.wait(12_000);
    expect(last.client.queues.named('$session/c')).toBeDefined();
    await last.wait(11_000);
    await last.wait(200);
    await until(() => last.client.queues.named('$session/c') === undefined);
  });
});

describe('a publish to more queues than one command takes', () => {
  async function many(shards: ManyShards, count: number): Promise<QueueId[]> {
    const names = Array.from({ length: count }, (_, at) => `q${at}`);
    await shards.clients.get(0)?.declare(names.map((name) => definition(name)));
    await until(() => shards.client.queues.count >= count);
    return names.map((name) => shards.idOf(name));
  }

  async function all(shards: ManyShards) {
    const { admin } = shards.client;
    const first = await admin.list('', 1_000);
    return [...first, ...(await admin.list(first.at(-1)?.definition.name ?? '', 1_000))];
  }

  it('is told once, when all of them have it', async () => {
    const shards = await ManyShards.open();
    const queueIds = await many(shards, 1_200);
    // In any order, and some twice.
    const targets = [...queueIds.toReversed(), ...queueIds.slice(0, 9)];
    const told: unknown[] = [];
    const waiter = { enqueued: (_tag: number, outcome: unknown): void => void told.push(outcome) };
    const message = { topic: 't', payload: Buffer.from('m'), qos: 1, retain: false } as const;
    const origin = { clientId: 'c', protocol: 'mqtt' } as const;
    shards.client.enqueue(targets, { ...message, properties: undefined }, origin, waiter, 1);
    await until(() => told.length > 0);
    expect(told).toEqual([expect.any(Number)]);
    const depths = new Set((await all(shards)).map(({ depth }) => depth));
    expect(depths).toEqual(new Set([1]));
    expect(new Set(targets).size).toBeGreaterThan(MAX_TARGETS);
  });

  it('at QoS 2: one queue refuses, and after the retry each has it once', async () => {
    const shards = await ManyShards.open();
    const queueIds = await many(shards, 1_199);
    await shards.client.admin.declare(
      definition('full', { limits: { ...definition('').limits, maxMessages: 1 } }),
    );
    const full = shards.idOf('full');
    await publish(shards.client, [full], 'first');
    const key: PublishKey = { session: 's', ownerEpoch: 1, packetId: 3 };
    const wanted = [...queueIds, full];
    expect(await publish(shards.client, wanted, 'm', key)).toBe('timeout');
    const taker = new Taker(shards.client, full, 1);
    await taker.got(1);
    await until(() => taker.texts.length === 1);
    for (let left = 100; (await depthOf(shards, 'full')) > 0; left -= 1) {
      expect(left).toBeGreaterThan(0);
    }
    for (const targets of [wanted, wanted.slice(100), wanted]) {
      expect(await publish(shards.client, targets, 'm', key)).toEqual(expect.any(Number));
    }
    await taker.got(2);
    const queues = await all(shards);
    for (const { definition: of, next } of queues) {
      expect([of.name, next]).toEqual([of.name, of.name === 'full' ? 2 : 1]);
    }
    await answered((waiter) => shards.client.release(key, waiter, 1));
    expect(await publish(shards.client, queueIds.slice(0, 1), 'm', key)).toEqual(
      expect.any(Number),
    );
    expect((await shards.client.admin.show('q0')).next).toBe(2);
  });
});
