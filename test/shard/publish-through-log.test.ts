/** What a publish asks for beyond being stored, and retries of it, with the whole shard behind. */

import { describe, expect, it } from 'vitest';
import type { EnqueueOptions, PublishKey } from '../../src/machine/command.ts';
import type { Offset } from '../../src/machine/ids.ts';
import { peekPartIn } from '../../src/shard/admin-requests.ts';
import { writeEndSession } from '../../src/shard/client-frames.ts';
import { decodeBody } from '../../src/shard/requests.ts';
import { StoredMessageView } from '../../src/shard/stored-message.ts';
import { ShardWorld, queue, turn, until } from '../support/shard-world.ts';
import type { PlainClient } from '../support/shard-world.ts';

const NONE: EnqueueOptions = {
  ttlMs: 0,
  priority: 0,
  delayMs: 0,
  producer: undefined,
  key: undefined,
};

function publish(client: PlainClient, text: string, options?: Partial<EnqueueOptions>): number {
  const orders = client.queues.get('orders') ?? 0;
  return client.enqueue([orders], text, {
    ...(options === undefined ? {} : { options: { ...NONE, ...options } }),
    message: { topic: '$queue/orders/k' },
  });
}

async function sent(client: PlainClient): Promise<void> {
  client.send();
  await until(() => client.confirmed === client.next - 1);
}

async function texts(client: PlainClient, name = 'orders'): Promise<string[]> {
  const request = { kind: 'peek', name, from: 0 as Offset, max: 1000 } as const;
  const { messages } = peekPartIn(decodeBody(await client.request(request)));
  return messages.map(({ stored }) => {
    const view = new StoredMessageView(stored, 0, stored.length);
    return Buffer.from(view.payload).toString();
  });
}

/** Each question is a turn of the shard, in which it sees how late it is. */
async function pass(world: ShardWorld, client: PlainClient, ms: number): Promise<void> {
  world.monotonicMs += ms;
  for (let turns = 0; turns < 12; turns++) {
    await client.stats();
    await turn();
  }
}

describe('a delayed publish', () => {
  it('is confirmed at once, comes when its time is over, and also after a crash meanwhile', async () => {
    const world = new ShardWorld();
    let client = await world.open();
    publish(client, 'later', { delayMs: 60_000 });
    publish(client, 'soon', { delayMs: 5_000 });
    publish(client, 'now', { ttlMs: 3_600_000 });
    await sent(client);
    expect(await texts(client)).toEqual(['now']);
    await pass(world, client, 6_000);
    expect(await texts(client)).toEqual(['now', 'soon']);
    world.crash();
    world.wallMs += 60_000;

    client = await world.open();
    await pass(world, client, 1_000);
    await until(() => world.shard?.stats().get('outbox/open') === 0);
    expect(await texts(client)).toEqual(['now', 'soon', 'later']);
    const consumer = client.queues.get('orders') ?? 0;
    client.consume(1, consumer, 10);
    client.send();
    await until(() => client.deliveries.length === 3);
    expect(client.deliveries.map(({ text }) => text)).toEqual(['now', 'soon', 'later']);
  });

  it('is skipped, and holds up no other, when its queue is gone by then', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: [queue('orders'), queue('gone')] });
    const gone = client.queues.get('gone') ?? 0;
    const options = { ...NONE, delayMs: 2_000 };
    client.enqueue([gone], 'lost', { options, message: { topic: '$queue/gone' } });
    publish(client, 'kept', { delayMs: 2_000 });
    await sent(client);
    await client.request({ kind: 'delete', name: 'gone' });
    await pass(world, client, 3_000);
    await until(() => world.shard?.stats().get('outbox/open') === 0);
    expect(await texts(client)).toEqual(['kept']);
    expect(world.shard?.stats().get('outbox/skipped')).toBe(1);
  });
});

describe('a publish with a life', () => {
  it('Q8: is never delivered, and not pending, when it is over', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    publish(client, 'short', { ttlMs: 1_000 });
    publish(client, 'long', { ttlMs: 100_000 });
    await sent(client);
    await pass(world, client, 2_500);
    client.consume(1, client.queues.get('orders') ?? 0, 10);
    client.send();
    await until(() => client.deliveries.length > 0);
    await pass(world, client, 0);
    expect(client.deliveries.map(({ text }) => text)).toEqual(['long']);
    expect(world.shard?.stats().get('depth\0orders')).toBe(1);
  });
});

describe('a numbered producer', () => {
  it('stores each sequence once, also after a crash, and is told that all is well', async () => {
    const world = new ShardWorld();
    let client = await world.open();
    const by = (sequence: number): Partial<EnqueueOptions> => ({
      producer: { id: 'p', sequence },
    });
    publish(client, 'one', by(1));
    publish(client, 'two', by(2));
    publish(client, 'one again', by(1));
    await sent(client);
    expect(client.refusals.size).toBe(0);
    world.crash();
    client = await world.open();
    publish(client, 'two again', by(2));
    publish(client, 'three', by(3));
    await sent(client);
    expect(client.refusals.size).toBe(0);
    expect(await texts(client)).toEqual(['one', 'two', 'three']);
    client.consume(1, client.queues.get('orders') ?? 0, 10);
    client.send();
    await until(() => client.deliveries.length === 3);
    expect(client.deliveries.map(({ text }) => text)).toEqual(['one', 'two', 'three']);
  });
});

describe('the key of a QoS 2 publish', () => {
  const key: PublishKey = { session: 's', ownerEpoch: 1, packetId: 9 };

  it('Q26: a retry before the release is none, and behind it the packet id is a new message', async () => {
    const world = new ShardWorld();
    let client = await world.open();
    publish(client, 'first', { key });
    publish(client, 'retry', { key });
    await sent(client);
    world.crash();
    client = await world.open();
    publish(client, 'retry after a crash', { key });
    client.release(key);
    publish(client, 'second', { key });
    await sent(client);
    expect(client.refusals.size).toBe(0);
    expect(await texts(client)).toEqual(['first', 'second']);
  });

  it('goes with its session, and a former owner stores nothing', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    publish(client, 'one', { key });
    publish(client, 'newer owner', { key: { ...key, ownerEpoch: 2, packetId: 10 } });
    const late = publish(client, 'late', { key: { ...key, packetId: 11 } });
    await sent(client);
    expect([...client.refusals]).toEqual([[late, 'stale-owner']]);
    client.frame((writer) => writeEndSession(writer, 's'));
    client.send();
    await client.stats();
    publish(client, 'after', { key: { ...key, ownerEpoch: 2, packetId: 10 } });
    await sent(client);
    expect(await texts(client)).toEqual(['one', 'newer owner', 'after']);
  });
});

describe('a publish that is sent again', () => {
  it('Q32: hears the refusal that it had, and not a confirmation', async () => {
    const world = new ShardWorld();
    const client = await world.open({
      queues: [queue('orders', { maxMessages: 1, overflow: 'reject-publish' })],
    });
    const orders = client.queues.get('orders') ?? 0;
    publish(client, 'fits');
    const refused = publish(client, 'does not fit');
    await sent(client);
    expect(client.refusals.get(refused)).toBe('queue-full');
    // There is room now; the number has its outcome all the same.
    expect(
      decodeBody(await client.request({ kind: 'purge', name: 'orders', group: undefined })),
    ).toBe(1);
    const before = world.shard?.stats().get('messages/enqueued');
    client.next = refused;
    client.enqueue([orders], 'does not fit');
    client.answered = refused - 1;
    client.send(refused);
    await client.stats();
    expect(world.shard?.stats().get('messages/enqueued')).toBe(before);
    expect(await texts(client)).toEqual([]);
    publish(client, 'next');
    await sent(client);
    expect(await texts(client)).toEqual(['next']);
  });

  it("is refused on the disk's reserve, while a release goes through", async () => {
    const world = new ShardWorld();
    const client = await world.open();
    const key: PublishKey = { session: 's', ownerEpoch: 1, packetId: 9 };
    publish(client, 'first', { key });
    await sent(client);
    world.inReserve = true;
    const refused = publish(client, 'no room', { key: { ...key, packetId: 10 } });
    const released = client.release(key);
    await sent(client);
    expect([...client.refusals]).toEqual([[refused, 'disk-full']]);
    expect(released).toBe(refused + 1);
    world.inReserve = false;
    publish(client, 'second', { key });
    await sent(client);
    expect(await texts(client)).toEqual(['first', 'second']);
  });
});
