/** One publish whose queues do not all get the same message, under one key, over several shards. */

import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { PublishKey, PublishPart, QueueId } from '../../src/broker/ports.ts';
import { MAX_TARGETS } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import { keyedPartsOf } from '../../src/shard/publish-parts.ts';
import { ManyShards, answered, definition } from '../support/many-shards.ts';
import { until } from '../support/shard-world.ts';

const ORIGIN = { clientId: 'c', protocol: 'mqtt' } as const;
const KEY: PublishKey = { session: 's', ownerEpoch: 0, packetId: 1 };

function message(text: string): Message {
  const set = { qos: 2, retain: false, properties: undefined } as const;
  return { topic: 't', payload: Buffer.from(text), ...set };
}

/** Two queues in each of the shards 0 and 1: `q0`, `p0`, `q1`, `p1`. */
async function world(): Promise<ManyShards> {
  const shards = await ManyShards.open();
  const { admin } = shards.client;
  await shards.make(1);
  shards.reach(1);
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) await admin.declare(definition(name));
  return shards;
}

interface Wish {
  readonly text: string;
  readonly queues: readonly string[];
}

/** What becomes of each part. */
async function publish(shards: ManyShards, wishes: readonly Wish[], key = KEY): Promise<unknown[]> {
  const told: unknown[] = wishes.map(() => undefined);
  const waiter = { enqueued: (tag: number, outcome: unknown) => void (told[tag] = outcome) };
  const parts = wishes.map(({ text, queues }, tag): PublishPart => {
    const targets = queues.map((name) => shards.idOf(name));
    return { targets, message: message(text), waiter, tag };
  });
  shards.client.enqueueParts(parts, ORIGIN, key);
  await until(() => told.every((each) => each !== undefined));
  return told.map((each) => (typeof each === 'number' ? 'stored' : each));
}

async function texts(shards: ManyShards, name: string): Promise<string[]> {
  const peeked = await shards.client.admin.peek(name, 0 as never, 100);
  return peeked.map(({ message: { payload } }) => Buffer.from(payload).toString());
}

describe('the parts of one publish', () => {
  it('each come to their queues, and the whole again stores nothing', async () => {
    const shards = await world();
    const wishes = [
      { text: 'all', queues: ['a', 'c', 'd', 'f'] },
      { text: 'own', queues: ['b'] },
      { text: 'other', queues: ['e'] },
    ];
    for (let tries = 0; tries < 3; tries++) {
      expect(await publish(shards, wishes)).toEqual(['stored', 'stored', 'stored']);
    }
    const found = await Promise.all([...'abcdef'].map((name) => texts(shards, name)));
    expect(found.flat()).toEqual(['all', 'own', 'all', 'all', 'other', 'all']);
    const released = await answered((waiter) => shards.client.release(KEY, waiter, 1));
    expect(released).toEqual(expect.any(Number));
    await publish(shards, wishes);
    expect(await texts(shards, 'b')).toEqual(['own', 'own']);
    expect(await texts(shards, 'e')).toEqual(['other', 'other']);
  });

  it('of which one is refused, are stored when they are tried again, each once', async () => {
    const shards = await world();
    const { admin } = shards.client;
    const limits = { ...DEFAULT_LIMITS, overflow: 'reject-publish', maxMessages: 1 } as const;
    await admin.declare(definition('small', { limits }));
    await publish(shards, [{ text: 'before', queues: ['small'] }], { ...KEY, packetId: 2 });
    const wishes = [
      { text: 'all', queues: ['a', 'b', 'c', 'd', 'e', 'f'] },
      { text: 'own', queues: ['small'] },
    ];
    const [all, own] = await publish(shards, wishes);
    expect([all, own]).toEqual(['stored', 'queue-full']);
    await admin.purge('small', undefined);
    expect(await publish(shards, wishes)).toEqual(['stored', 'stored']);
    for (const name of 'abcdef') expect(await texts(shards, name)).toEqual(['all']);
  });

  it('whose queue is gone say so, and the others are stored', async () => {
    const shards = await world();
    const wishes = [
      { text: 'all', queues: ['a', 'd'] },
      { text: 'own', queues: ['b'] },
      { text: 'other', queues: ['c'] },
    ];
    const { admin } = shards.client;
    const gone = shards.idOf('b');
    await admin.delete('b');
    const told: unknown[] = [];
    const waiter = { enqueued: (tag: number, outcome: unknown) => void (told[tag] = outcome) };
    const parts = wishes.map(({ text, queues }, tag) => {
      const targets = queues.map((name) => (name === 'b' ? gone : shards.idOf(name)));
      return { targets, message: message(text), waiter, tag };
    });
    shards.client.enqueueParts(parts, ORIGIN, KEY);
    await until(() => told.filter((each) => each !== undefined).length === 3);
    expect(told[1]).toBe('no-queue');
    for (const name of 'ad') expect(await texts(shards, name)).toEqual(['all']);
    expect(await texts(shards, 'c')).toEqual(['other']);
  });
});

it('ascend in their queues, each with one message and no more than a command may have', () => {
  const waiter = { enqueued: () => undefined };
  const part = (text: string): PublishPart => {
    return { targets: [], message: message(text), waiter, tag: 0 };
  };
  const [all, own] = [part('all'), part('own')];
  const targets = Array.from({ length: MAX_TARGETS + 3 }, (_none, at) => {
    return { queueId: (at + 1) as QueueId, part: at === 1 ? own : all };
  });
  const parts = keyedPartsOf(targets.reverse(), KEY);
  expect(parts.map(({ queueIds }) => queueIds.length)).toEqual([1, 1, MAX_TARGETS, 1]);
  expect(parts.map((each) => each.part === own)).toEqual([false, true, false, false]);
  const ends = parts.map(({ key }) => key?.part);
  expect(ends).toEqual([
    { after: 0, through: 1 },
    { after: 1, through: 2 },
    { after: 2, through: MAX_TARGETS + 2 },
    { after: MAX_TARGETS + 2, through: 0 },
  ]);
  expect(keyedPartsOf(targets.slice(0, 1), KEY)[0]?.key).toBe(KEY);
});
