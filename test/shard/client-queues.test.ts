import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { QueueInfo } from '../../src/broker/ports.ts';
import type { Offset, QueueId } from '../../src/machine/ids.ts';
import { encodeRefusal, encodeStats } from '../../src/shard/requests.ts';
import { ORIGIN, Sink, message, request, setting } from '../support/client-setting.ts';
import type { ScriptedShard } from '../support/scripted-shard.ts';
import { ORDERS, orders, quiet } from '../support/scripted-shard.ts';

describe('queues', () => {
  const other = (id: number, name: string): QueueInfo => ({
    ...orders,
    queueId: id as QueueId,
    name,
  });

  it('are found by id and name; the version goes up with each change, and only then', async () => {
    const { client, shard } = await setting();
    const names = (): string[] => Array.from(client.queues, ({ name }) => name);
    const tell = async (queues: QueueInfo[], gone: QueueId[]): Promise<void> => {
      shard.say((writer) => writer.queues({ queues, gone, complete: true }));
      await quiet();
    };
    await tell([other(6, 'more'), other(7, 'most')], []);
    expect([names(), client.queues.count]).toEqual([['orders', 'more', 'most'], 3]);
    expect(client.version).toBe(2);
    await tell([other(6, 'more')], [99 as QueueId]);
    expect(client.version).toBe(2);
    await tell([{ ...other(6, 'more'), type: 'stream', capture: 'async' }], [ORDERS]);
    expect(client.queues.named('more')).toMatchObject({ type: 'stream', capture: 'async' });
    expect([names(), client.version]).toEqual([['more', 'most'], 3]);
    // Deleted and declared anew: the two may be told in either order.
    await tell([other(8, 'most')], []);
    await tell([], [7 as QueueId]);
    expect([names().sort(), client.queues.named('most')?.queueId]).toEqual([['more', 'most'], 8]);
    expect(client.queues.get(7 as QueueId)).toBeUndefined();
  });

  it('with other topics than their own are objects that stay the same, in their order', async () => {
    const { client, shard } = await setting();
    const tell = async (...queues: QueueInfo[]): Promise<void> => {
      shard.say((writer) => writer.queues({ queues, gone: [], complete: true }));
      await quiet();
    };
    const own = (id: number, name: string): QueueInfo => ({
      ...other(id, name),
      topics: [`$queue/${name}/#`],
    });
    await tell({ ...orders, topics: ['m/#'] });
    const many = Array.from({ length: 200 }, (_none, at) => own(100 + at, `q${at}`));
    await tell(...many, { ...own(8, 'mqtt'), topics: ['$queue/#'] });
    expect(client.queues.count).toBe(202);
    const before = client.queues.patterned;
    expect(before.map(({ name }) => name)).toEqual(['orders']);
    await tell(own(500, 'another'));
    expect(client.queues.patterned).toBe(before);
    await tell({ ...own(100, 'q0'), topics: ['n/#'] });
    expect(client.queues.patterned.map(({ name }) => name)).toEqual(['orders', 'q0']);
    expect(client.queues.patterned[0]).toBe(before[0]);
    await tell(own(100, 'q0'));
    expect(client.queues.patterned).toEqual(before);
    expect(client.queues.get(100 as QueueId)).toEqual(own(100, 'q0'));
  });
});

describe('requests', () => {
  it('are answered by their number, accepted or refused with words', async () => {
    const { client, shard } = await setting();
    const stats = client.stats();
    const declared = client.declare([]);
    await quiet();
    expect(shard.frames.map((frame) => frame.kind)).toEqual(['hello', 'request', 'request']);
    shard.say((writer) => {
      writer.reply(2, false, encodeRefusal(new Error('no room')));
      writer.reply(1, true, encodeStats(new Map([['appends', 7]])));
      writer.reply(9, true, new Uint8Array(0));
    });
    await expect(stats).resolves.toEqual(new Map([['appends', 7]]));
    await expect(declared).rejects.toThrow(
      expect.objectContaining({ code: 'refused', message: 'no room' }),
    );
  });
});

describe('a shard that is gone', () => {
  const ways: [string, (shard: ScriptedShard) => void][] = [
    ['says so', (shard) => shard.say((writer) => writer.failed('disk broken'))],
    ['closes the port', (shard) => shard.leave()],
    ['speaks nonsense', (shard) => shard.sayBytes(new Uint8Array(100).fill(7))],
    ['confirms what was never sent', (shard) => shard.say((writer) => writer.confirmed(99, []))],
  ];
  it.each(ways)('C14: %s: everyone hears unavailable, now and later', async (_, end) => {
    const { client, shard, witness, failures, send } = await setting({ highWaterBytes: 1000 });
    let writable = 0;
    client.onWritable(() => writable++);
    const sink = new Sink();
    const consumer = client.consume(request(1), sink);
    send(1, 20);
    const stats = client.stats();
    stats.catch(() => {});
    await quiet();
    shard.say((writer) => writer.confirmed(2, []));
    end(shard);
    await quiet();
    const gone = Array.from({ length: 18 }, (_each, index) => [index + 3, 'unavailable']);
    expect(witness.told).toEqual([[1, 1], [2, 2], ...gone]);
    expect(sink.events).toEqual(['unavailable']);
    await expect(stats).rejects.toThrow(expect.objectContaining({ code: 'unavailable' }));
    expect(failures.length).toBe(1);
    expect([client.writable, writable]).toEqual([true, 1]);

    send(21);
    expect(witness.told.length).toBe(20);
    const late = new Sink();
    client.consume(request(1), late);
    consumer.grant(1);
    consumer.settle(1 as Offset, 1, 1, 'complete');
    consumer.close('lost');
    await quiet();
    expect(witness.told.at(-1)).toEqual([21, 'unavailable']);
    expect(late.events).toEqual(['unavailable']);
    await expect(client.stats()).rejects.toThrow(expect.objectContaining({ code: 'unavailable' }));
    client.close();
    expect(failures.length).toBe(1);
  });

  it('C14: a waiter that publishes again on every refusal hears each in a later turn', async () => {
    const { client, shard, send } = await setting();
    let told = 0;
    const stubborn = {
      enqueued(tag: number): void {
        told++;
        if (told < 100) client.enqueue([ORDERS], message('again'), ORIGIN, stubborn, tag);
      },
    };
    client.enqueue([ORDERS], message('1'), ORIGIN, stubborn, 1);
    send(2);
    await quiet();
    shard.leave();
    await quiet();
    expect(told).toBeGreaterThan(1);
    expect(told).toBeLessThan(30);
  });

  it('C14: a sink that consumes again when it is cancelled hears it again in a later turn', async () => {
    const { client, shard } = await setting();
    let cancelled = 0;
    class Stubborn extends Sink {
      override cancelled(): void {
        cancelled++;
        if (cancelled < 100) client.consume(request(1), this);
      }
    }
    client.consume(request(1), new Stubborn());
    await quiet();
    shard.leave();
    await quiet();
    expect(cancelled).toBeGreaterThan(1);
    expect(cancelled).toBeLessThan(30);
  });

  it('that speaks any nonsense is given up, and never more than that', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.boolean(), async (noise, framed) => {
        const { client, shard, failures } = await setting();
        const bytes = framed ? new Uint8Array([0, 0, 0, 0, 1, 0, 0, 0, ...noise]) : noise;
        if (framed) new DataView(bytes.buffer).setUint32(0, bytes.length, true);
        shard.sayBytes(bytes);
        await quiet();
        expect(failures.length).toBeLessThanOrEqual(1);
        if (!framed) expect(failures.length).toBe(1);
        client.close();
      }),
      { numRuns: 100 },
    );
  });

  it('while it stops on request, is no error in the log', async () => {
    const { client, shard, errors } = await setting();
    const stopped = client.stop().catch((error: unknown) => error);
    shard.say((writer) => writer.failed('the shard takes nothing any more'));
    expect(await stopped).toMatchObject({ code: 'unavailable' });
    expect(errors).toEqual([]);
  });

  it('because the client closed it, is no failure', async () => {
    const { client, shard, witness, failures, send } = await setting();
    send(1);
    await quiet();
    client.close();
    expect(witness.told).toEqual([[1, 'unavailable']]);
    await quiet();
    expect(shard.closed).toBe(true);
    expect(failures).toEqual([]);
  });
});
