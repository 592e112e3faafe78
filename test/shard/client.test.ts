import { fc } from '../support/properties.ts';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { PublishKey } from '../../src/broker/ports.ts';
import type { Offset } from '../../src/machine/ids.ts';
import { clientLimits } from '../../src/shard/client-options.ts';
import { ShardClient } from '../../src/shard/client.ts';
import { loopback } from '../../src/shard/port.ts';
import type { RefusalReason } from '../../src/shard/shard-frames.ts';
import type { FakeClock } from '../support/client-setting.ts';
import { ORIGIN, Sink, message, request, setting, silent } from '../support/client-setting.ts';
import type { Witness } from '../support/scripted-shard.ts';
import { ORDERS, orders, quiet } from '../support/scripted-shard.ts';

const tags = (witness: Witness): number[] => witness.told.map(([tag]) => tag);
const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1);

describe('opening', () => {
  it('gives the queues in force and the boot of a stream of its own', async () => {
    const { client, shard } = await setting();
    expect([...client.queues]).toEqual([orders]);
    expect(client.version).toBe(1);
    expect(shard.frames).toEqual([{ kind: 'hello', node: 'n1', boot: 0 }]);
  });

  it('rejects when the shard fails or is not there', async () => {
    const [near, far] = loopback();
    far.close();
    const opened = ShardClient.open({ port: near, node: 'n1', logger: silent });
    await expect(opened).rejects.toThrow(expect.objectContaining({ code: 'unavailable' }));
  });
});

describe('enqueue', () => {
  it('tells each waiter once, in the order of the calls, however outcomes are batched', async () => {
    const step = fc.record({
      send: fc.integer({ min: 0, max: 30 }),
      confirm: fc.integer({ min: 0, max: 30 }),
      refuse: fc.array(fc.integer({ min: 0, max: 29 }), { maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const { client, shard, witness, send } = await setting({ batchBytes: 4096 });
        const expected: [number, unknown][] = [];
        let sent = 0;
        for (const { send: count, confirm, refuse } of steps) {
          send(sent + 1, count);
          sent += count;
          await quiet();
          const from = expected.length;
          const last = Math.min(from + confirm, sent);
          const refused = new Set(refuse.map((each) => from + 1 + each));
          const refusals: { number: number; reason: RefusalReason }[] = [];
          for (let number = from + 1; number <= last; number++) {
            if (refused.has(number)) refusals.push({ number, reason: 'disk-full' });
            expected.push([number, refused.has(number) ? 'disk-full' : number]);
          }
          if (last > from) shard.say((writer) => writer.confirmed(last, refusals));
          await quiet();
          expect(witness.told).toEqual(expected);
        }
        expect(shard.enqueues.map((each) => each.payload)).toEqual(upTo(sent).map(String));
        client.close();
      }),
      { numRuns: 30 },
    );
  });

  it('takes a payload of the largest size, and none that is a byte longer', async () => {
    const { client, shard, witness } = await setting({ payloadBytesMax: 200 });
    client.enqueue([ORDERS], message('x'.repeat(200)), ORIGIN, witness, 1);
    client.enqueue([ORDERS], message('x'.repeat(201)), ORIGIN, witness, 2);
    await quiet();
    expect(shard.enqueues.map((each) => each.payload.length)).toEqual([200]);
    shard.say((writer) => writer.confirmed(1, []));
    await quiet();
    expect(witness.told).toEqual([
      [1, 1],
      [2, 'too-large'],
    ]);
  });

  it('tells no outcome during the call, not even of what it refuses itself', async () => {
    const { client, shard, witness, send } = await setting({ messageBytesMax: 200 });
    client.enqueue([], message('1'), ORIGIN, witness, 1);
    expect(witness.told).toEqual([]);
    await quiet();
    expect(witness.told).toEqual([[1, 'no-queue']]);
    send(2);
    client.enqueue([ORDERS], message('x'.repeat(200)), ORIGIN, witness, 3);
    const many = Array.from({ length: 1025 }, () => ORDERS);
    client.enqueue(many, message('4'), ORIGIN, witness, 4);
    client.enqueue([ORDERS], { ...message('5'), topic: 'ä'.repeat(40_000) }, ORIGIN, witness, 5);
    send(6);
    await quiet();
    expect(tags(witness)).toEqual([1]);
    shard.say((writer) => writer.confirmed(1, []));
    await quiet();
    expect(witness.told.slice(1)).toEqual([
      [2, 1],
      [3, 'too-large'],
      [4, 'too-large'],
      [5, 'too-large'],
    ]);
    shard.say((writer) => writer.confirmed(2, []));
    await quiet();
    expect(witness.told.at(-1)).toEqual([6, 2]);
    expect(shard.enqueues.map((each) => each.payload)).toEqual(['2', '6']);
  });

  it('copies the payload before the call returns', async () => {
    const { client, shard, witness } = await setting();
    const given = message('abc');
    client.enqueue([ORDERS], given, ORIGIN, witness, 1);
    given.payload.fill(0);
    await quiet();
    expect(shard.enqueues[0]?.payload).toBe('abc');
  });

  it.each([1, 2])(
    'waits while %d batches have no answer, gathers meanwhile, and goes at once when full',
    async (batchesUnderWay) => {
      const { shard, send } = await setting({ batchesUnderWay });
      const before = shard.batches;
      for (let tag = 1; tag <= batchesUnderWay; tag++) {
        send(tag);
        await quiet();
      }
      send(3, 10);
      await quiet();
      expect(shard.batches).toBe(before + batchesUnderWay);
      shard.say((writer) => writer.confirmed(1, []));
      await quiet();
      expect(shard.batches).toBe(before + batchesUnderWay + 1);
      send(13, 2000);
      await quiet();
      expect(shard.batches).toBe(before + batchesUnderWay + 2);
    },
  );

  it('has one batch more under way where answers come over other nodes', () => {
    expect(clientLimits(false).batchesUnderWay).toBe(1);
    expect(clientLimits(true).batchesUnderWay).toBe(2);
    expect(clientLimits(true, { batchesUnderWay: 7 }).batchesUnderWay).toBe(7);
  });

  it('goes out in one batch a turn, and says up to where it knows the outcomes', async () => {
    const { shard, send } = await setting();
    const before = shard.batches;
    send(1, 100);
    await quiet();
    expect(shard.batches).toBe(before + 1);
    shard.say((writer) => writer.confirmed(60, []));
    await quiet();
    send(101);
    await quiet();
    expect(shard.answeredUpTo).toBe(60);
  });

  it('carries a large message and what follows it', async () => {
    const { client, shard, witness, send } = await setting();
    const large = 'x'.repeat(1_000_000);
    send(1);
    client.enqueue([ORDERS], message(large), ORIGIN, witness, 2);
    send(3);
    await quiet();
    expect(shard.enqueues.map((each) => each.payload)).toEqual(['1', large, '3']);
  });
});

describe('back-pressure', () => {
  it('has at most 4,096 numbers above what is answered under way, and loses none of the rest', async () => {
    const { shard, witness, send } = await setting();
    send(1, 12_000);
    await quiet();
    expect(shard.enqueues.length).toBeLessThanOrEqual(4096);
    expect(shard.enqueues.length).toBeGreaterThan(3000);
    for (let confirmed = 0; confirmed < 12_000;) {
      const step = Math.ceil((shard.enqueues.length - confirmed) / 2);
      expect(step).toBeGreaterThan(0);
      confirmed += step;
      // The scripted shard throws when the window is exceeded.
      shard.say((writer) => writer.confirmed(confirmed, []));
      await quiet();
    }
    expect(witness.told).toEqual(upTo(12_000).map((tag) => [tag, tag]));
  });

  it('keeps to a window of one number', async () => {
    const { shard, witness, send } = await setting({ window: 1 });
    send(1, 5);
    for (let number = 1; number <= 5; number++) {
      await quiet();
      expect(shard.enqueues.length).toBe(number);
      shard.say((writer) => writer.confirmed(number, []));
    }
    await quiet();
    expect(tags(witness)).toEqual(upTo(5));
  });

  it('keeps to the window of bytes, but lets a larger message go alone', async () => {
    const { client, shard, witness } = await setting({ windowBytes: 65_536 });
    const large = 'x'.repeat(100_000);
    client.enqueue([ORDERS], message(large), ORIGIN, witness, 1);
    client.enqueue([ORDERS], message(large), ORIGIN, witness, 2);
    await quiet();
    expect(shard.enqueues.length).toBe(1);
    shard.say((writer) => writer.confirmed(1, []));
    await quiet();
    expect(shard.enqueues.length).toBe(2);
  });

  it('keeps to the window of bytes also with what was held back before', async () => {
    const { shard, witness, send } = await setting({ windowBytes: 65_536, batchBytes: 4096 });
    send(1, 2000);
    for (let confirmed = 0; confirmed < 2000;) {
      await quiet();
      const underWay = shard.enqueues.length - confirmed;
      expect(underWay).toBeGreaterThan(0);
      // A message of a few bytes and its place cost more than 100.
      expect(underWay).toBeLessThan(655);
      confirmed += underWay;
      shard.say((writer) => writer.confirmed(confirmed, []));
    }
    await quiet();
    expect(tags(witness)).toEqual(upTo(2000));
  });

  it('holds the stream while the shard is busy, but neither settlements nor credit', async () => {
    const { client, shard, witness, send } = await setting();
    shard.say((writer) => writer.busy());
    await quiet();
    send(1, 3);
    const consumer = client.consume(request(1), new Sink());
    consumer.settle(1 as Offset, 1, 1, 'complete');
    await quiet();
    expect(shard.enqueues).toEqual([]);
    expect(shard.frames.map((frame) => frame.kind)).toEqual(['hello', 'consume', 'settle']);
    shard.say((writer) => writer.resume());
    await quiet();
    shard.say((writer) => writer.confirmed(3, []));
    await quiet();
    expect(tags(witness)).toEqual([1, 2, 3]);
  });

  it('asks publishers to stop above the high-water mark, and to go on below the half of it', async () => {
    const { client, shard, send } = await setting({ highWaterBytes: 20_000 });
    let called = 0;
    client.onWritable(() => called++);
    send(1, 50);
    expect(client.writable).toBe(true);
    send(51, 150);
    expect(client.writable).toBe(false);
    await quiet();
    shard.say((writer) => writer.confirmed(60, []));
    await quiet();
    expect([client.writable, called]).toEqual([false, 0]);
    shard.say((writer) => writer.confirmed(190, []));
    await quiet();
    expect([client.writable, called]).toEqual([true, 1]);
  });

  it('refuses what comes above the bound, in its turn', async () => {
    const { shard, witness, send } = await setting({ pendingBytesMax: 2000 });
    send(1, 100);
    await quiet();
    expect(witness.told).toEqual([]);
    const taken = shard.enqueues.length;
    expect(taken).toBeLessThan(30);
    shard.say((writer) => writer.confirmed(taken, []));
    await quiet();
    expect(tags(witness)).toEqual(upTo(100));
    expect(new Set(witness.told.slice(taken).map(([, outcome]) => outcome))).toEqual(
      new Set(['unavailable']),
    );
  });
});

describe('the acknowledge timeout', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  async function pass(clock: FakeClock, ms: number): Promise<void> {
    clock.ms += ms;
    await vi.advanceTimersByTimeAsync(ms);
    await quiet();
  }

  it('is told oldest first, once, and the late outcome is told to nobody', async () => {
    const { shard, witness, clock, send } = await setting({ ackTimeoutMs: 1000 });
    send(1, 3);
    await quiet();
    await pass(clock, 600);
    send(4, 2);
    await quiet();
    await pass(clock, 400);
    expect(witness.told).toEqual([1, 2, 3].map((tag) => [tag, 'timeout']));
    shard.say((writer) => writer.confirmed(4, [{ number: 2, reason: 'disk-full' }]));
    await quiet();
    expect(witness.told.slice(3)).toEqual([[4, 4]]);
    await pass(clock, 600);
    expect(witness.told.slice(4)).toEqual([[5, 'timeout']]);
    shard.say((writer) => writer.confirmed(5, []));
    await quiet();
    await pass(clock, 5000);
    expect(witness.told.length).toBe(5);
  });

  it('Q33: the number of a publish that timed out is never given to another one', async () => {
    const { shard, witness, clock, send } = await setting({ ackTimeoutMs: 1000 });
    send(1);
    await quiet();
    await pass(clock, 1000);
    send(2);
    await quiet();
    expect(shard.enqueues.map(({ number, payload }) => [number, payload])).toEqual([
      [1, '1'],
      [2, '2'],
    ]);
    expect(shard.answeredUpTo).toBe(0);
    shard.say((writer) => writer.confirmed(2, []));
    await quiet();
    expect(witness.told).toEqual([
      [1, 'timeout'],
      [2, 2],
    ]);
  });

  it('runs for what is held back too, which goes out all the same', async () => {
    const { shard, witness, clock, send } = await setting({ ackTimeoutMs: 1000 });
    shard.say((writer) => writer.busy());
    await quiet();
    send(1);
    await quiet();
    await pass(clock, 1000);
    expect(witness.told).toEqual([[1, 'timeout']]);
    shard.say((writer) => writer.resume());
    await quiet();
    expect(shard.enqueues.length).toBe(1);
  });
});

describe('options of a publish', () => {
  const publish = async (
    userProperties: readonly (readonly [string, string])[],
    more: Partial<Message['properties'] & object> = {},
    key?: PublishKey,
  ): Promise<unknown> => {
    const { client, shard, witness } = await setting();
    const properties = { userProperties, ...more };
    client.enqueue([ORDERS], { ...message('1'), properties }, ORIGIN, witness, 1, key);
    await quiet();
    client.close();
    if (witness.told.length === 1 && witness.told[0]?.[1] === 'invalid-option') return 'refused';
    return shard.enqueues[0]?.options;
  };
  const none = { ttlMs: 0, priority: 0, delayMs: 0, producer: undefined, key: undefined };

  it('go with the message, and those that say nothing do not', async () => {
    expect(await publish([['x', '1']])).toBeUndefined();
    expect(await publish([['x-delay', '0']])).toBeUndefined();
    expect(await publish([['x-delay', '250']])).toEqual({ ...none, delayMs: 250 });
    expect(await publish([['x-priority', '9']])).toEqual({ ...none, priority: 9 });
    expect(await publish([], { expirySeconds: 3 })).toEqual({ ...none, ttlMs: 3000 });
    expect(await publish([], { expirySeconds: 0 })).toEqual({ ...none, ttlMs: 1 });
    const producer = [
      ['producer-id', 'p'],
      ['producer-seq', '17'],
    ] as const;
    expect(await publish(producer)).toEqual({ ...none, producer: { id: 'p', sequence: 17 } });
    const key = { session: 's', ownerEpoch: 2, packetId: 3 };
    expect(await publish([], {}, key)).toEqual({ ...none, key });
  });

  it('refuse the publish when they cannot be meant', async () => {
    const tenYears = 3_650 * 24 * 3_600_000;
    expect(await publish([['x-delay', String(tenYears)]])).toEqual({ ...none, delayMs: tenYears });
    for (const value of ['', '-1', '1.5', '1e3', ' 1', '0x10', 'soon', String(tenYears + 1)]) {
      expect(await publish([['x-delay', value]]), value).toBe('refused');
    }
    expect(await publish([['x-priority', '10']])).toBe('refused');
    expect(await publish([['producer-id', 'p']])).toBe('refused');
    expect(await publish([['producer-seq', '1']])).toBe('refused');
    const seq = ['producer-seq', '9007199254740992'] as const;
    expect(await publish([['producer-id', 'p'], seq])).toBe('refused');
    expect(
      await publish([
        ['producer-id', ''],
        ['producer-seq', '1'],
      ]),
    ).toBe('refused');
    const twice = ['x-delay', '1'] as const;
    expect(await publish([twice, twice])).toBe('refused');
    expect(await publish([], {}, { session: '', ownerEpoch: 0, packetId: 1 })).toBe('refused');
  });
});

describe('the key of a publish', () => {
  it('is released by a number behind it, told in the order of the calls', async () => {
    const { client, shard, witness } = await setting();
    const key = { session: 's', ownerEpoch: 2, packetId: 3 };
    client.enqueue([ORDERS], message('1'), ORIGIN, witness, 1, key);
    client.release(key, witness, 2);
    client.release({ ...key, session: '' }, witness, 3);
    client.enqueue([ORDERS], message('2'), ORIGIN, witness, 4, key);
    await quiet();
    expect(shard.enqueues.map(({ number }) => number)).toEqual([1, 3]);
    expect(shard.releases).toEqual([{ number: 2, key }]);
    shard.say((writer) => writer.confirmed(3, [{ number: 3, reason: 'stale-owner' }]));
    await quiet();
    expect(witness.told).toEqual([
      [1, 1],
      [2, 2],
      [3, 'invalid-option'],
      [4, 'stale-owner'],
    ]);
  });

  it('goes with its session, whose end overtakes nothing that was published before it', async () => {
    const { client, shard, send } = await setting();
    send(1, 2);
    client.endSession('s');
    await quiet();
    const ends = (): unknown[] => shard.frames.filter(({ kind }) => kind === 'end-session');
    shard.say((writer) => writer.confirmed(1, []));
    await quiet();
    expect(ends()).toEqual([]);
    shard.say((writer) => writer.confirmed(2, []));
    await quiet();
    expect(ends()).toEqual([{ kind: 'end-session', session: 's' }]);
    client.endSession('t');
    await quiet();
    expect(ends()).toHaveLength(2);
  });
});
