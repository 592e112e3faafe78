/** One client over several real shards: where queues lie, publishes to several, keys, and names. */

import { describe, expect, it } from 'vitest';
import { AdminError, type PublishKey } from '../../src/broker/ports.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import { shardOf } from '../../src/machine/ids.ts';
import {
  ManyShards,
  ORIGIN,
  answered,
  definition,
  messageOf,
  publish,
} from '../support/many-shards.ts';
import { until } from '../support/shard-world.ts';

/** Shards 0 to 2, with the queues `q0` to `q2`, one in each, and `live` in memory. */
async function world(options = {}): Promise<ManyShards> {
  const shards = await ManyShards.open(options);
  const { admin } = shards.client;
  await admin.declare(definition('q0'));
  for (const number of [1, 2]) {
    await shards.make(number);
    shards.reach(number);
    await admin.declare(definition(`q${number}`));
  }
  await admin.declare(definition('live', { type: 'ephemeral' }));
  return shards;
}

const FOREVER = Number.POSITIVE_INFINITY;
const shardOfNamed = (shards: ManyShards, name: string): number => shardOf(shards.idOf(name));
const key = (packetId: number, session = 's'): PublishKey => ({ session, ownerEpoch: 0, packetId });

describe('queues of several shards', () => {
  it('are declared in the one with fewest, found by name and by id, and listed in order', async () => {
    const shards = await world();
    const { client } = shards;
    expect(['q0', 'q1', 'q2'].map((name) => shardOfNamed(shards, name))).toEqual([0, 1, 2]);
    for (const name of ['q0', 'q1', 'q2', 'live']) {
      expect(client.queues.get(shards.idOf(name))).toMatchObject({ name });
      expect(await client.admin.show(name)).toMatchObject({ definition: { name } });
    }
    const listed = await client.admin.list('', 10);
    expect(listed.map((each) => each.definition.name)).toEqual(['live', 'q0', 'q1', 'q2']);
    const behind = await client.admin.list('q0', 1);
    expect(behind.map((each) => each.definition.name)).toEqual(['q1']);
    expect(client.queues.count).toBe(4);
    expect(new Set([...client.queues].map(({ name }) => name)).size).toBe(4);
  });

  it('are declared again where they are, and refused with another type wherever they are', async () => {
    const shards = await world();
    const { admin } = shards.client;
    expect(await admin.declare(definition('q2'))).toBe('same');
    const ephemeral = admin.declare(definition('q1', { type: 'ephemeral' }));
    await expect(ephemeral).rejects.toThrow(expect.objectContaining({ code: 'exists' }));
    const stream = admin.declare(definition('q1', { type: 'stream' }));
    await expect(stream).rejects.toThrow(expect.objectContaining({ code: 'exists' }));
    const durable = admin.declare(definition('live'));
    await expect(durable).rejects.toThrow(expect.objectContaining({ code: 'exists' }));
  });

  it('S9: whose dead letters would go in a circle through several shards are refused', async () => {
    const shards = await world();
    const { admin } = shards.client;
    const declare = (name: string, deadLetter: string) =>
      admin.declare(definition(name, { limits: { ...DEFAULT_LIMITS, deadLetter } }));
    await declare('q0', 'q1');
    await declare('q1', 'q2');
    await expect(declare('q2', 'q0')).rejects.toThrow(
      'queue q2 cannot be declared: dlq: dead letters of q2 would come back to it',
    );
    expect((await admin.show('q2')).definition.limits.deadLetter).not.toBe('q0');
    // A line is none, nor is a circle that does not go through it.
    expect(await declare('q2', 'nowhere')).toBe('updated');
    expect(await declare('fresh', 'q0')).toBe('created');
  });

  it('leave no place behind when they are deleted, or cannot be declared', async () => {
    const shards = await world();
    const { admin } = shards.client;
    const { places } = shards.clients.get(0) ?? {};
    await admin.delete('q2');
    expect(await places?.where('q2')).toBeUndefined();
    await expect(admin.delete('q2')).rejects.toThrow(expect.objectContaining({ code: 'no-queue' }));
    const limits = { ...definition('x').limits, deliveryLimit: 0 };
    const bad = admin.declare(definition('bad', { limits }));
    await expect(bad).rejects.toThrow(AdminError);
    expect(await places?.where('bad')).toBeUndefined();
  });

  it('C19: a place whose queue is gone takes the next declaration of its name', async () => {
    const shards = await world();
    const zero = shards.clients.get(0);
    await zero?.places.place('half', [1], '');
    const { admin } = shards.client;
    await expect(admin.show('half')).rejects.toThrow(expect.objectContaining({ code: 'no-queue' }));
    expect(await admin.declare(definition('half'))).toBe('created');
    expect(shardOfNamed(shards, 'half')).toBe(1);
    await zero?.places.place('other', [2], '');
    await expect(admin.delete('other')).rejects.toThrow(AdminError);
    expect(await zero?.places.where('other')).toBeUndefined();
  });

  it('purge, peek and groups are asked of the shard that has the queue', async () => {
    const shards = await world();
    const { client } = shards;
    await publish(client, [shards.idOf('q2')], 'a');
    const [first] = await client.admin.peek('q2', 0 as never, 10);
    expect(Buffer.from(first?.message.payload ?? []).toString()).toBe('a');
    expect(await client.admin.purge('q2', undefined)).toBe(1);
    const gone = client.admin.deleteGroup('q2', 'nobody');
    await expect(gone).rejects.toThrow(expect.objectContaining({ code: 'no-group' }));
  });
});

describe('a publish to several shards', () => {
  it('is stored by each, and told once', async () => {
    const shards = await world();
    const names = ['q0', 'q1', 'q2', 'live'];
    const takers = names.map((name) => shards.consume(name));
    const targets = names.map((name) => shards.idOf(name));
    expect(await publish(shards.client, targets, 'all')).toEqual(expect.any(Number));
    expect(await publish(shards.client, targets.slice(1, 3), 'two')).toEqual(expect.any(Number));
    for (const taker of takers) expect((await taker.got(1))[0]).toBe('all');
    expect(await takers[2]?.got(2)).toEqual(['all', 'two']);
  });

  it('is refused with the word of the one that refuses, and the others may have it', async () => {
    const shards = await world();
    const { client } = shards;
    await client.admin.declare(
      definition('small', {
        limits: { ...definition('x').limits, overflow: 'reject-publish', maxMessages: 1 },
      }),
    );
    const [small, other] = [shards.idOf('small'), shards.idOf('q2')];
    expect(shardOf(small)).not.toBe(shardOf(other));
    expect(await publish(client, [small, other], 'first')).toEqual(expect.any(Number));
    expect(await publish(client, [small, other], 'second')).toBe('queue-full');
    expect(await shards.consume('q2').got(2)).toEqual(['first', 'second']);
  });

  it('keeps to the order of the calls in each queue, whatever shards the calls go to', async () => {
    const shards = await world();
    const { client } = shards;
    const ids = ['q0', 'q1', 'q2'].map((name) => shards.idOf(name));
    const all: Promise<unknown>[] = [];
    for (let at = 0; at < 300; at++) {
      const targets = at % 2 === 0 ? ids : ids.slice(at % 3, (at % 3) + 1);
      all.push(publish(client, targets, `${at}`));
    }
    await Promise.all(all);
    for (const [number, name] of ['q0', 'q1', 'q2'].entries()) {
      const expected: string[] = [];
      for (let at = 0; at < 300; at++) {
        if (at % 2 === 0 || at % 3 === number) expected.push(`${at}`);
      }
      expect(await shards.consume(name).got(expected.length)).toEqual(expected);
    }
  });
});

describe('the key of a publish', () => {
  it('Q26: is in every shard that was asked, until its release has reached them all', async () => {
    const shards = await world();
    const { client } = shards;
    const targets = ['q1', 'q2', 'live'].map((name) => shards.idOf(name));
    for (const text of ['first', 'retry']) await publish(client, targets, text, key(1));
    const released = await answered((waiter) => client.release(key(1), waiter, 1));
    expect(released).toEqual(expect.any(Number));
    await publish(client, targets, 'second', key(1));
    for (const name of ['q1', 'q2', 'live']) {
      expect(await shards.consume(name).got(2)).toEqual(['first', 'second']);
    }
  });

  it('is released wherever it may be, also when an older owner of this node leaves late', async () => {
    const shards = await world();
    const { client } = shards;
    const limits = { maxMessages: 10, maxBytes: 1000, overflow: 'drop-head' } as const;
    const plain = { user: undefined, cleanStart: false, limits, will: undefined };
    const claim = { ...plain, clientId: 'c', expirySeconds: 60 };
    const { handle } = await client.sessions.claim(claim);
    const { incarnation: session, ownerEpoch } = handle;
    const q2 = [shards.idOf('q2')];
    await publish(client, q2, 'first', { session, ownerEpoch, packetId: 1 });
    const next = (await client.sessions.claim(claim)).handle;
    const late = client.sessions.leave(handle, { expirySeconds: 60, isInPeace: true });
    await expect(late).rejects.toThrow('another connection has claimed the session');
    const nextKey = { session, ownerEpoch: next.ownerEpoch, packetId: 1 };
    await answered((waiter) => client.release(nextKey, waiter, 1));
    await publish(client, q2, 'second', nextKey);
    expect(await shards.consume('q2').got(2)).toEqual(['first', 'second']);
  });
});

describe('the key of a publish to a queue in memory', () => {
  const limits = { maxMessages: 10, maxBytes: 1000, overflow: 'drop-head' } as const;
  const life = { clientId: 'c', user: undefined, expirySeconds: 60, limits, will: undefined };
  type Claimed = Awaited<ReturnType<ManyShards['client']['sessions']['claim']>>;
  const keyOf = ({ handle }: Claimed): PublishKey => {
    return { session: handle.incarnation, ownerEpoch: handle.ownerEpoch, packetId: 5 };
  };
  const claim = (shards: ManyShards, cleanStart: boolean): Promise<Claimed> => {
    return shards.client.sessions.claim({ ...life, cleanStart });
  };

  it('is released by the next connection of its session: no new message is a repeat', async () => {
    const shards = await world();
    const { client } = shards;
    const targets = [shards.idOf('live')];
    await publish(client, targets, 'first', keyOf(await claim(shards, false)));
    const key = keyOf(await claim(shards, false));
    await publish(client, targets, 'again', key);
    const released = await answered((waiter) => client.release(key, waiter, 1));
    expect(released).toEqual(expect.any(Number));
    await publish(client, targets, 'second', key);
    expect(await shards.consume('live').got(2)).toEqual(['first', 'second']);
  });

  it('goes with its session', async () => {
    const shards = await world();
    const { client } = shards;
    const targets = [shards.idOf('live')];
    const key = keyOf(await claim(shards, false));
    await publish(client, targets, 'first', key);
    await claim(shards, true);
    // The end that the claim tells has been there.
    await publish(client, targets, 'second');
    await publish(client, targets, 'third', key);
    expect(await shards.consume('live').got(3)).toEqual(['first', 'second', 'third']);
  });

  it('goes where its session moves: what came between at another node is not known here', async () => {
    const shards = await world({ isShared: true });
    const { client } = shards;
    const elsewhere = await shards.clientElsewhere();
    const targets = [shards.idOf('live')];
    await publish(client, targets, 'first', keyOf(await claim(shards, false)));
    const there = keyOf(await elsewhere.sessions.claim({ ...life, cleanStart: false }));
    const released = await answered((waiter) => elsewhere.release(there, waiter, 1));
    expect(released).toEqual(expect.any(Number));
    const key = keyOf(await claim(shards, false));
    await publish(client, targets, 'second', key);
    await publish(client, targets, 'repeat', key);
    await answered((waiter) => client.release(key, waiter, 1));
    await publish(client, targets, 'third', key);
    expect(await shards.consume('live').got(3)).toEqual(['first', 'second', 'third']);
  });

  it('of a part of a publish to several shards goes where its session moves, too', async () => {
    const shards = await world({ isShared: true });
    const { client } = shards;
    const elsewhere = await shards.clientElsewhere();
    const targets = ['q0', 'live'].map((name) => shards.idOf(name));
    await publish(client, targets, 'first', keyOf(await claim(shards, false)));
    const there = keyOf(await elsewhere.sessions.claim({ ...life, cleanStart: false }));
    await answered((waiter) => elsewhere.release(there, waiter, 1));
    const key = keyOf(await claim(shards, false));
    await answered((waiter) => {
      const part = { targets, message: messageOf('second'), waiter, tag: 1 };
      client.enqueueParts([part], ORIGIN, key);
    });
    await publish(client, targets, 'repeat', key);
    await answered((waiter) => client.release(key, waiter, 1));
    await publish(client, targets, 'third', key);
    for (const name of ['q0', 'live']) {
      expect(await shards.consume(name).got(3)).toEqual(['first', 'second', 'third']);
    }
  });

  it('stays in a cluster, too, while its session has no owner elsewhere', async () => {
    const shards = await world({ isShared: true });
    const { client } = shards;
    const targets = [shards.idOf('live')];
    await publish(client, targets, 'first', keyOf(await claim(shards, false)));
    const key = keyOf(await claim(shards, false));
    await publish(client, targets, 'repeat', key);
    await answered((waiter) => client.release(key, waiter, 1));
    await publish(client, targets, 'second', keyOf(await claim(shards, false)));
    expect(await shards.consume('live').got(2)).toEqual(['first', 'second']);
  });
});

describe('shards that come later', () => {
  it('are waited for by a start, so that the topics that their queues capture are known', async () => {
    const shards = await ManyShards.open();
    expect(await shards.client.complete(FOREVER)).toEqual([]);
    await shards.make(1);
    let isComplete = false;
    const complete = shards.client.complete(FOREVER).finally(() => (isComplete = true));
    const given = new AbortController();
    const givenUp = shards.client.complete(FOREVER, given.signal);
    given.abort();
    await expect(givenUp).rejects.toThrow('given up');
    await shards.client.admin.declare(definition('q0'));
    expect(isComplete).toBe(false);
    expect(shards.reach(1)).toBe(false);
    expect(await complete).toEqual([]);
  });

  it('take queues and publishes as soon as they are there, and wake who waits to write', async () => {
    const shards = await ManyShards.open();
    const { client } = shards;
    let wakes = 0;
    client.onWritable(() => void wakes++);
    await client.admin.declare(definition('q0', { topics: ['$queue/q0/#', 'm/#'] }));
    const before = client.queues.patterned;
    await shards.make(1);
    shards.reach(1);
    await client.admin.declare(definition('q1', { topics: ['m/#'] }));
    expect(client.queues.patterned.map(({ name }) => name)).toEqual(['q0', 'q1']);
    expect(client.queues.patterned[0]).toBe(before[0]);
    expect(client.queues.patterned).toBe(client.queues.patterned);
    const big = 'x'.repeat(1_000_000);
    const targets = [shards.idOf('q1')];
    const all = Array.from({ length: 20 }, () => publish(client, targets, big));
    expect(client.writable).toBe(false);
    await Promise.all(all);
    await until(() => client.writable && wakes > 0);
  });
});

describe('C19: a client that other nodes share the queues with', () => {
  it('finds by a look what it did not know, in a shard that it comes to know meanwhile', async () => {
    const shards = await ManyShards.open({ isShared: true });
    await shards.make(1);
    const zero = shards.clients.get(0);
    const other = shards.clients.get(1);
    const place = await zero?.places.place('far', [1], '');
    await other?.admin.declare({ ...definition('far'), placed: place?.version ?? 0 });
    const found = shards.client.lookUp('far');
    const shown = shards.client.admin.show('far');
    expect(shards.client.queues.named('far')).toBeUndefined();
    shards.reach(1);
    expect(await found).toBe(true);
    expect(shards.client.queues.named('far')).toBeDefined();
    expect(await shown).toMatchObject({ definition: { name: 'far' } });
    expect(await shards.client.lookUp('nowhere')).toBe(true);
    expect(shards.client.queues.named('nowhere')).toBeUndefined();
  });

  it('an operator hears that it is not known, and not that there is none, where nobody answers', async () => {
    const shards = await ManyShards.open({ isShared: true, ackTimeoutMs: 1 });
    await shards.make(1);
    await shards.clients.get(0)?.places.place('far', [1], '');
    const shown = shards.client.admin.show('far');
    await expect(shown).rejects.toThrow(expect.objectContaining({ code: 'unavailable' }));
    const deleted = shards.client.admin.delete('far');
    await expect(deleted).rejects.toThrow(expect.objectContaining({ code: 'unavailable' }));
  });
});

describe('routes over several shards', () => {
  it('are current when every shard has said so, and there is none that is not spoken to', async () => {
    const now = { ms: 1_000 };
    const shards = await world({ isShared: true, monotonicMs: () => now.ms });
    const { freshness } = shards.client;
    let answers = 0;
    freshness?.onAnswer(() => void answers++);
    const isCurrent = (): boolean | undefined => freshness?.covers(now.ms, now.ms);
    expect(isCurrent()).toBe(false);
    await until(() => answers === 3);
    expect(isCurrent()).toBe(true);
    now.ms += 501;
    // It is in the map, and nobody here could know what its queues capture.
    await shards.make(3);
    expect(isCurrent()).toBe(false);
    await until(() => answers === 6);
    expect(isCurrent()).toBe(false);
    shards.reach(3);
    await until(() => isCurrent() === true);
  });

  it('are always current on a single broker', async () => {
    const shards = await world();
    expect(shards.client.freshness).toBeUndefined();
  });
});
