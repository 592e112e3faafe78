import { describe, expect, it } from 'vitest';
import type { LogIndex, QueueId } from '../../src/machine/ids.ts';
import type { PlainClient } from '../support/shard-world.ts';
import { ShardWorld, queue, turn, until } from '../support/shard-world.ts';

function idOf(client: PlainClient, name = 'orders'): number {
  const id = client.queues.get(name);
  if (id === undefined) throw new Error(`no queue ${name}`);
  return id;
}

async function publish(
  client: PlainClient,
  texts: readonly string[],
  name = 'orders',
): Promise<void> {
  for (const text of texts) client.enqueue([idOf(client, name)], text);
  client.send();
  await until(() => client.confirmed === client.next - 1);
}

async function consume(client: PlainClient, count: number, consumer = 1): Promise<void> {
  client.consume(consumer, idOf(client), 100);
  client.send();
  await until(() => client.deliveries.length === count);
}

async function settled(client: PlainClient, depth: number): Promise<void> {
  client.send();
  for (;;) {
    if ((await client.stats()).get('depth\0orders') === depth) return;
  }
}

const texts = (client: PlainClient): string[] => client.deliveries.map(({ text }) => text);
const numbered = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_value, at) => `m${first + at}`);

describe('shard: publishes', () => {
  it('confirms what is durable and applied, in order, and delivers it', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    await publish(client, numbered(10));
    expect(client.refusals.size).toBe(0);
    await consume(client, 10);
    expect(texts(client)).toEqual(numbered(10));
    expect(client.deliveries.every((each) => !each.redelivered && each.attempt === 1)).toBe(true);
    await world.stop();
  });

  it('D5: no confirm precedes the sync that covers it', async () => {
    const world = new ShardWorld();
    const client = await world.open({ mode: 'by-hand' });
    const trace: string[] = [];
    client.onConfirmed = (upTo) => void trace.push(`confirmed ${upTo}`);
    for (let n = 1; n <= 5; n++) {
      client.enqueue([idOf(client)], `m${n}`);
      client.send();
      for (let turns = 0; turns < 10; turns++) await turn();
      expect(client.confirmed).toBe(n - 1);
      trace.push(`synced ${n}`);
      world.log?.sync();
      await until(() => client.confirmed === n);
    }
    expect(trace).toEqual([1, 2, 3, 4, 5].flatMap((n) => [`synced ${n}`, `confirmed ${n}`]));
  });

  it('D7: what arrives in one batch is one entry, whatever its queues', async () => {
    const world = new ShardWorld();
    const names = Array.from({ length: 10_000 }, (_value, n) => `q${n}`);
    const client = await world.open({ queues: names.map((name) => queue(name)) });
    const before = world.log?.stats.appends ?? 0;
    for (let round = 0; round < 5; round++) {
      for (const [at, name] of names.entries()) {
        client.enqueue([idOf(client, name)], `${round} ${name}`);
        if (at % 1_000 !== 999) continue;
        client.send();
        await until(() => client.confirmed === client.next - 1);
      }
    }
    expect((world.log?.stats.appends ?? 0) - before).toBe(50);
    client.consume(1, idOf(client, 'q7777'), 100);
    client.send();
    await until(() => client.deliveries.length === 5);
    expect(texts(client)).toEqual([0, 1, 2, 3, 4].map((n) => `${n} q7777`));
    await world.stop();
  });

  it('splits what is larger than an entry, and keeps order and numbers', async () => {
    const world = new ShardWorld();
    const client = await world.open({ limits: { entryBytesMax: 4_096 } });
    const before = world.log?.stats.appends ?? 0;
    const many = Array.from({ length: 40 }, (_value, n) => `${n}:${'x'.repeat(500)}`);
    const large = `large ${'y'.repeat(20_000)}`;
    await publish(client, [...many, large, ...many]);
    expect((world.log?.stats.appends ?? 0) - before).toBeGreaterThan(10);
    expect(Math.max(...world.disk.entries.map((entry) => entry.bytes))).toBeLessThan(21_000);
    await consume(client, 81);
    expect(texts(client)).toEqual([...many, large, ...many]);
    await world.stop();
  });

  it('asks senders to hold back while too much is not committed, and lets them go on', async () => {
    const world = new ShardWorld();
    const client = await world.open({ mode: 'by-hand', limits: { uncommittedBytesMax: 10_000 } });
    client.enqueue([idOf(client)], 'x'.repeat(20_000));
    client.send();
    await until(() => client.busy);
    await world.syncUntil(until(() => !client.busy));
    expect(client.confirmed).toBe(1);
  });

  it('refuses an earlier life of the sender, and a gap, before it proposes', async () => {
    for (const wrong of ['boot', 'gap', 'window'] as const) {
      const world = new ShardWorld();
      const client = await world.open();
      await publish(client, ['one']);
      const before = world.log?.last;
      client.enqueue([idOf(client)], 'two');
      if (wrong === 'boot') client.boot -= 1;
      if (wrong === 'window') client.answered = -4_100;
      client.answered = Math.max(client.answered, 0);
      if (wrong === 'window') {
        for (let n = 0; n < 4_097; n++) client.enqueue([idOf(client)], 'more');
      }
      client.send(wrong === 'gap' ? 3 : 2);
      await until(() => client.failed !== undefined);
      expect(client.failed).toMatch(/out of step: (stale-boot|gap|window)/);
      expect(world.log?.last).toBe(before);
      await world.stop();
    }
  });

  it('takes a number once: what is sent again is not stored again', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    await publish(client, ['one', 'two']);
    client.next = 2;
    client.enqueue([idOf(client)], 'two');
    client.enqueue([idOf(client)], 'three');
    client.send();
    await until(() => client.confirmed === 3);
    await consume(client, 3);
    expect(texts(client)).toEqual(['one', 'two', 'three']);
    await world.stop();
  });

  it('C14: a stopped shard refuses late callers with a word', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    await publish(client, ['one']);
    await world.stop();
    client.enqueue([idOf(client)], 'late');
    client.send();
    await until(() => client.failed !== undefined);
    expect(client.failed).toMatch(/takes nothing any more/);
    expect(client.confirmed).toBe(1);
    expect(world.disk.cleanStop).toBe(true);
  });

  it('D3: a failed log confirms nothing more and is told once', async () => {
    const world = new ShardWorld();
    const client = await world.open({ mode: 'by-hand' });
    client.enqueue([idOf(client)], 'unknown');
    client.send();
    await until(() => (world.log?.pending ?? 0) > 0);
    world.log?.fail(new Error('EIO'));
    world.log?.fail(new Error('again'));
    await until(() => client.failed !== undefined);
    expect(client.failed).toBe('EIO');
    expect(client.confirmed).toBe(0);
    expect(world.failures.map(({ message }) => message)).toEqual(['EIO']);
  });

  it('S3: a batch that lies about its length ends the session and stores nothing', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    const before = world.log?.last;
    client.port.post(Uint8Array.from({ length: 60 }, () => 0xff));
    await until(() => client.failed !== undefined);
    expect(world.log?.last).toBe(before);
    await world.stop();
  });
});

describe('shard: a full disk', () => {
  it('D10: inside the reserve only settlements go on, and it recovers', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    await publish(client, ['stored']);
    world.inReserve = true;
    await publish(client, ['refused', 'refused too']);
    expect([...client.refusals]).toEqual([
      [2, 'disk-full'],
      [3, 'disk-full'],
    ]);
    expect((await client.stats()).get('alarm/disk-reserve')).toBe(1);
    await consume(client, 1);
    client.settle(client.deliveries[0] ?? raise(), 'complete');
    await settled(client, 0);
    world.inReserve = false;
    await publish(client, ['again']);
    expect(client.refusals.size).toBe(2);
    client.grant(1, 1);
    client.send();
    await until(() => client.deliveries.length === 2);
    expect(texts(client)).toEqual(['stored', 'again']);
    expect((await client.stats()).has('alarm/disk-reserve')).toBe(false);
    await world.stop();
  });
});

describe('shard: deliveries', () => {
  it('Q27: a late requeue does not hit the present holder; a late complete counts', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    await publish(client, ['one']);
    await consume(client, 1);
    const first = client.deliveries[0] ?? raise();
    client.closeConsumer(1, 'returned');
    await consume(client, 2, 2);
    client.settle(first, 'requeue');
    client.settle(first, 'discard');
    await client.stats();
    expect((await client.stats()).get('delivered\0orders')).toBe(1);
    client.settle(first, 'complete');
    await settled(client, 0);
    await world.stop();
  });

  it('Q27: a lost consumer counts as an attempt, one that handed back does not', async () => {
    const world = new ShardWorld();
    const client = await world.open({
      queues: [queue('orders', { retry: { minMs: 1, maxMs: 1, multiplier: 1, jitter: 0 } })],
    });
    await publish(client, ['one']);
    await consume(client, 1);
    client.closeConsumer(1, 'returned');
    await consume(client, 2, 2);
    client.closeConsumer(2, 'lost');
    client.send();
    await client.stats();
    world.monotonicMs += 10;
    await consume(client, 3, 3);
    expect(client.deliveries.map(({ attempt, redelivered }) => [attempt, redelivered])).toEqual([
      [1, false],
      [1, true],
      [2, true],
    ]);
    await world.stop();
  });

  it('Q3: a lone consumer gets its own timed-out message again', async () => {
    const world = new ShardWorld();
    const client = await world.open({
      queues: [
        queue('orders', {
          visibilityTimeoutMs: 20,
          retry: { minMs: 1, maxMs: 1, multiplier: 1, jitter: 0 },
        }),
      ],
    });
    world.readingMs = 0.5;
    await publish(client, ['one']);
    await consume(client, 1);
    await until(() => client.deliveries.length >= 2);
    expect(client.deliveries[1]).toMatchObject({ consumer: 1, attempt: 2, redelivered: true });
    await world.stop();
  });

  it('marks as redelivered what may have gone out: after a crash, everything', async () => {
    const world = new ShardWorld();
    const marked = async (credit: number): Promise<boolean[]> => {
      const client = await world.open();
      client.consume(1, idOf(client), credit);
      client.send();
      await until(() => client.deliveries.length === credit);
      return client.deliveries.map(({ redelivered }) => redelivered);
    };
    const client = await world.open();
    await publish(client, numbered(4));
    await world.stop();
    expect(await marked(1)).toEqual([false]);
    await world.stop();
    await world.open();
    await world.stop();
    expect(await marked(2)).toEqual([true, false]);
    await world.stop();
    await world.open();
    world.crash();
    expect(await marked(4)).toEqual([true, true, true, true]);
    await world.stop();
    expect(await marked(4)).toEqual([true, true, true, true]);
    await world.stop();
  });

  it('Q25: a queue deleted and declared again: an old settlement touches nothing', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    await publish(client, ['old']);
    await consume(client, 1);
    const old = client.deliveries[0] ?? raise();
    world.propose({ kind: 'delete-queue', queueId: old.queueId as QueueId });
    await until(() => client.cancelled.length === 1);
    expect(client.cancelled).toEqual([[1, 'queue-deleted']]);
    await until(() => !client.queues.has('orders'));
    await world.stop();

    const again = await world.open();
    expect(idOf(again)).toBeGreaterThan(old.queueId);
    await publish(again, ['new']);
    again.settle(old, 'complete');
    again.settle(old, 'discard');
    again.send();
    await consume(again, 1);
    expect(texts(again)).toEqual(['new']);
    expect((await again.stats()).get('depth\0orders')).toBe(1);
    await world.stop();
  });

  it('a consumer of a queue that does not exist is told so', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    client.consume(5, 4_711, 10);
    client.send();
    await until(() => client.cancelled.length === 1);
    expect(client.cancelled).toEqual([[5, 'queue-deleted']]);
    await world.stop();
  });

  it('holds deliveries back while the other side does not work them off, and goes on', async () => {
    const world = new ShardWorld();
    const client = await world.open({ limits: { outstandingBytesMax: 8_192 } });
    const large = numbered(64).map((text) => text + 'x'.repeat(1_000));
    await publish(client, large);
    client.takes = false;
    client.consume(1, idOf(client), 1_000);
    client.send();
    await until(() => client.deliveries.length > 0);
    for (let turns = 0; turns < 200; turns++) await turn();
    const before = client.deliveries.length;
    expect(before).toBeLessThan(64);
    client.takes = true;
    client.send();
    for (; client.deliveries.length < 64; await turn()) client.send();
    expect(texts(client)).toEqual(large);
    await world.stop();
  });

  it('reads a backlog back from the log when memory has let it go, in order', async () => {
    const world = new ShardWorld();
    const limits = { tailBytes: 1, readBytes: 600_000, entryBytesMax: 8_192 };
    const client = await world.open({ limits, queues: [queue('orders'), queue('other')] });
    for (let round = 0; round < 20; round++) {
      await publish(client, numbered(50, round * 50));
      await publish(client, ['between'], 'other');
    }
    client.consume(1, idOf(client), 10_000);
    client.send();
    await until(() => client.deliveries.length === 1_000);
    expect(texts(client)).toEqual(numbered(1_000));
    expect(world.log?.reads).toBeGreaterThan(0);
    await world.stop();
  });
});

describe('shard: damage', () => {
  it('Q24: a queue with messages in a damaged range delivers the rest and names them', async () => {
    const world = new ShardWorld();
    const limits = { tailBytes: 1, readBytes: 1 };
    const client = await world.open({ limits });
    const entries: number[] = [];
    for (let n = 0; n < 10; n++) {
      await publish(client, [`m${n}`]);
      entries.push(world.log?.committed ?? 0);
    }
    await world.stop();
    const from = (entries[3] ?? 0) as LogIndex;
    const through = (entries[4] ?? 0) as LogIndex;
    world.disk.faulty.push({ from, through, detail: 'bits are wrong' });

    const again = await world.open({ limits });
    await consume(again, 8);
    expect(texts(again)).toEqual(['m0', 'm1', 'm2', 'm5', 'm6', 'm7', 'm8', 'm9']);
    const stats = await again.stats();
    expect(stats.get('alarm/damaged/orders/3-4')).toBe(2);
    expect(stats.get('alarm/log-damaged')).toBe(1);
    const told = world.lines.filter(({ message }) =>
      message.startsWith('a message cannot be read'),
    );
    expect(told.map(({ fields }) => fields['offset'])).toEqual([3, 4]);
    await publish(again, ['still taken']);
    again.grant(1, 10);
    again.send();
    await until(() => texts(again).includes('still taken'));
    await world.stop();
  });

  it('D4: damage that no checkpoint covers refuses the start and changes nothing', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    await publish(client, ['one']);
    world.crash();
    const last = world.disk.last as LogIndex;
    world.disk.faulty.push({ from: last, through: last, detail: 'bits are wrong' });
    const { term } = world.disk;
    await expect(world.open()).rejects.toThrow(/bits are wrong.*The broker does not start/);
    expect(world.disk.term).toBe(term);
    expect(world.disk.last).toBe(last);
  });
});

function raise(): never {
  throw new Error('nothing was delivered');
}
