import { describe, expect, it, vi } from 'vitest';
import type { SettleAnswer, SettleRequest, SettleWaiter } from '../../src/broker/ports.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import { ORIGIN, Sink, group, head, request, setting, stored } from '../support/client-setting.ts';
import { ORDERS, quiet } from '../support/scripted-shard.ts';

describe('consumers', () => {
  it('get their deliveries whole, and the end of a batch once', async () => {
    const { client, shard } = await setting();
    const [one, other, third] = [new Sink(), new Sink(), new Sink()];
    client.consume(request(10), one);
    client.consume(request(10), other);
    client.consume(request(10), third);
    await quiet();
    shard.say((writer) => {
      writer.term = 4;
      for (const consumer of [1, 2, 3]) writer.attached(consumer, group);
      writer.delivery(head(1, 0), stored('a'));
      writer.delivery(head(2, 1), stored('b'));
      writer.delivery(head(1, 2), stored('c'));
    });
    await quiet();
    expect(one.events).toEqual(['in mail', 'a', 'c', 'end']);
    expect(other.events).toEqual(['in mail', 'b', 'end']);
    expect(third.events).toEqual(['in mail']);
    expect(one.got[1]).toMatchObject({
      queueId: ORDERS,
      queueName: 'orders',
      groupName: 'mail',
      offset: 2,
      term: 4,
      deliveryNumber: 102,
      attempt: 2,
      redelivered: true,
    });
    expect(one.got[1]?.origin).toEqual(ORIGIN);
    expect(one.got[1]?.publishedAtMs).toBe(77);
    expect(one.got[1]?.message.topic).toBe('$queue/orders');
  });

  it('get nothing after close, not even from the batch in which they closed', async () => {
    const { client, shard } = await setting();
    const sink = new Sink();
    const consumer = client.consume(request(10), sink);
    sink.onDelivered = () => consumer.close('lost');
    await quiet();
    shard.say((writer) => {
      writer.delivery(head(1, 0), stored('a'));
      writer.delivery(head(1, 1), stored('b'));
      writer.ended(1, 0 as Offset, 100);
      writer.cancelled(1, 'queue-deleted', '');
    });
    await quiet();
    shard.say((writer) => writer.delivery(head(1, 2), stored('c')));
    await quiet();
    expect(sink.events).toEqual(['a']);
    expect(shard.frames.at(-1)).toEqual({ kind: 'close', consumer: 1, how: 'lost' });
  });

  it('settle before they close, and grant once a turn whatever the calls', async () => {
    const { client, shard } = await setting();
    const consumer = client.consume(request(3), new Sink());
    await quiet();
    shard.say((writer) => writer.attached(1, group));
    await quiet();
    consumer.grant(1);
    consumer.grant(2);
    consumer.settle(8 as Offset, 1, 2, 'requeue');
    await quiet();
    consumer.settle(9 as Offset, 1, 3, 'complete');
    consumer.grant(5);
    consumer.close('returned');
    consumer.close('lost');
    consumer.grant(5);
    consumer.settle(10 as Offset, 1, 4, 'requeue');
    consumer.settle(11 as Offset, 1, 5, 'complete');
    await quiet();
    const settle = { kind: 'settle', queueId: ORDERS, groupId: 7, term: 1 };
    expect(shard.frames.slice(1)).toEqual([
      { kind: 'consume', consumer: 1, ...request(3), again: '', named: false },
      { ...settle, offset: 8, deliveryNumber: 2, outcome: 'requeue' },
      { kind: 'grant', consumer: 1, deliveries: 3 },
      { ...settle, offset: 9, deliveryNumber: 3, outcome: 'complete' },
      { kind: 'close', consumer: 1, how: 'returned' },
      { ...settle, offset: 11, deliveryNumber: 5, outcome: 'complete' },
    ]);
  });

  it('are cancelled once when their queue is gone, or was never there', async () => {
    const { client, shard } = await setting();
    const [one, other] = [new Sink(), new Sink()];
    client.consume(request(1), one);
    client.consume(request(1, 99 as QueueId), other);
    expect(other.events).toEqual([]);
    await quiet();
    shard.say((writer) => {
      writer.cancelled(1, 'queue-deleted', 'gone');
      writer.cancelled(1, 'queue-deleted', 'gone');
    });
    await quiet();
    expect(one.events).toEqual(['queue-deleted']);
    expect(other.events).toEqual(['queue-deleted']);
    expect(shard.frames.filter((frame) => frame.kind === 'consume').length).toBe(1);
  });

  it('Q24: a stored message that cannot be read is told in the log, and the next one still comes', async () => {
    const { client, shard, errors } = await setting();
    const sink = new Sink();
    client.consume(request(2), sink);
    await quiet();
    shard.say((writer) => {
      writer.delivery(head(1, 0), { bytes: new Uint8Array(40).fill(9), start: 0, end: 40 });
      writer.delivery(head(1, 1), stored('b'));
    });
    await quiet();
    expect(sink.events).toEqual(['b', 'end']);
    expect(errors.length).toBe(1);
    expect(shard.frames.at(-1)).toEqual({ kind: 'grant', consumer: 1, deliveries: 1 });
  });

  it('have the shard told what is worked off, at the latest after 64 KiB', async () => {
    const { client, shard } = await setting();
    client.consume(request(1000), new Sink());
    await quiet();
    const before = shard.takenBytes;
    for (let offset = 0; offset < 4; offset++) {
      shard.say((writer) => writer.delivery(head(1, offset), stored('x'.repeat(20_000))));
      await quiet();
    }
    expect(shard.takenBytes - before).toBeGreaterThan(65_536);
  });
});

describe('a manual consumer', () => {
  it('hears of each delivery that ended, as long as it is open', async () => {
    const { client, shard } = await setting();
    const sink = new Sink();
    const consumer = client.consume({ ...request(2), manual: true }, sink);
    await quiet();
    expect(shard.frames.at(-1)).toMatchObject({ kind: 'consume', manual: true });
    shard.say((writer) => {
      writer.attached(1, group);
      writer.ended(1, 5 as Offset, 9);
    });
    await quiet();
    consumer.close('lost');
    shard.say((writer) => writer.ended(1, 6 as Offset, 10));
    await quiet();
    expect(sink.events).toEqual(['in mail', 'ended 5 9']);
  });
});

describe('settlements that are asked for', () => {
  class Asker implements SettleWaiter {
    readonly told: [number, SettleAnswer][] = [];
    settled(tag: number, answer: SettleAnswer): void {
      this.told.push([tag, answer]);
    }
  }
  const asked: SettleRequest = {
    queueId: ORDERS,
    group: 'mail',
    offset: 4 as Offset,
    term: 2,
    deliveryNumber: 6,
    outcome: 'commit',
  };

  it('are answered in the order of the calls, never during one', async () => {
    const { client, shard } = await setting();
    const waiter = new Asker();
    for (const tag of [10, 11, 12]) client.settle(asked, waiter, tag);
    await quiet();
    const frames = shard.frames.filter((frame) => frame.kind === 'ask');
    expect(frames[1]).toEqual({ kind: 'ask', tag: 1, ...asked });
    shard.say((writer) => {
      writer.settled(2, 'stale');
      writer.settled(1, 'done');
      writer.settled(77, 'done');
    });
    await quiet();
    expect(waiter.told).toEqual([]);
    shard.say((writer) => writer.settled(0, 'already'));
    await quiet();
    expect(waiter.told).toEqual([
      [10, 'already'],
      [11, 'done'],
      [12, 'stale'],
    ]);
  });

  it('are unavailable when their time is over, and hold nobody else up for longer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { client, shard, clock } = await setting({ ackTimeoutMs: 1000 });
      const waiter = new Asker();
      client.settle(asked, waiter, 1);
      client.settle(asked, waiter, 2);
      await quiet();
      shard.say((writer) => writer.settled(1, 'done'));
      await quiet();
      clock.ms += 1001;
      vi.advanceTimersByTime(1001);
      expect(waiter.told).toEqual([
        [1, 'unavailable'],
        [2, 'done'],
      ]);
      client.settle(asked, waiter, 3);
      await quiet();
      shard.say((writer) => {
        writer.settled(0, 'done');
        writer.settled(2, 'stale');
      });
      await quiet();
      expect(waiter.told.at(-1)).toEqual([3, 'stale']);
    } finally {
      vi.useRealTimers();
    }
  });

  it('C14: are unavailable when the shard is gone, now and later', async () => {
    const { client, shard } = await setting();
    const waiter = new Asker();
    client.settle(asked, waiter, 1);
    await quiet();
    shard.leave();
    await quiet();
    expect(waiter.told).toEqual([[1, 'unavailable']]);
    client.settle(asked, waiter, 2);
    expect(waiter.told).toHaveLength(1);
    await quiet();
    expect(waiter.told.at(-1)).toEqual([2, 'unavailable']);
  });
});
