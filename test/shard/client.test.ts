import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { ConsumeRequest, Delivery, PublishKey, QueueInfo } from '../../src/broker/ports.ts';
import type { SettleAnswer, SettleRequest, SettleWaiter } from '../../src/broker/ports.ts';
import type { GroupId, Offset, QueueId } from '../../src/machine/ids.ts';
import type { ShardClientLimits } from '../../src/shard/client-options.ts';
import { ShardClient } from '../../src/shard/client.ts';
import { loopback } from '../../src/shard/port.ts';
import { encodeRefusal, encodeStats } from '../../src/shard/requests.ts';
import type { RefusalReason, StoredSlice } from '../../src/shard/shard-frames.ts';
import { StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { ORDERS, ScriptedShard, Witness, orders, quiet } from '../support/scripted-shard.ts';

const ORIGIN = { clientId: 'c1', protocol: 'mqtt' } as const;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

function message(payload: string): Message {
  return {
    topic: '$queue/orders',
    payload: Buffer.from(payload),
    qos: 1,
    retain: false,
    properties: undefined,
  };
}

class FakeClock {
  ms = 1000;
  wallMs(): number {
    return 1_700_000_000_000 + this.ms;
  }
  monotonicMs(): number {
    return this.ms;
  }
}

interface Setting {
  readonly client: ShardClient;
  readonly shard: ScriptedShard;
  readonly witness: Witness;
  readonly clock: FakeClock;
  readonly failures: string[];
  readonly errors: string[];
  /** Enqueues messages whose payload and tag is the number. */
  readonly send: (from: number, count?: number) => void;
}

async function setting(limits: Partial<ShardClientLimits> = {}): Promise<Setting> {
  const [near, far] = loopback();
  const shard = new ScriptedShard(far);
  const clock = new FakeClock();
  const failures: string[] = [];
  const errors: string[] = [];
  const logger = { ...silent, error: (_: unknown, text: string) => errors.push(text) };
  const client = await ShardClient.open({
    port: near,
    node: 'n1',
    logger,
    // Many at once: each test sees its batches at the end of the turn. The hold has its own test.
    limits: { batchesUnderWay: 64, ...limits },
    clock,
    onFailed: (why) => failures.push(why),
  });
  const witness = new Witness();
  const send = (from: number, count = 1): void => {
    for (let tag = from; tag < from + count; tag++) {
      client.enqueue([ORDERS], message(String(tag)), ORIGIN, witness, tag);
    }
  };
  return { client, shard, witness, clock, failures, errors, send };
}

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
    const many = Array.from({ length: 257 }, () => ORDERS);
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

  it('waits for the answer of the batch under way, gathers meanwhile, and goes at once when full', async () => {
    const { shard, send } = await setting({ batchesUnderWay: 1 });
    const before = shard.batches;
    send(1);
    await quiet();
    send(2, 10);
    await quiet();
    expect(shard.batches).toBe(before + 1);
    shard.say((writer) => writer.confirmed(1, []));
    await quiet();
    expect(shard.batches).toBe(before + 2);
    send(12, 2000);
    await quiet();
    expect(shard.batches).toBe(before + 3);
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

class Sink {
  readonly got: Delivery[] = [];
  readonly events: string[] = [];
  onDelivered: ((delivery: Delivery) => void) | undefined;

  delivered(delivery: Delivery): void {
    this.got.push(delivery);
    this.events.push(Buffer.from(delivery.message.payload).toString());
    this.onDelivered?.(delivery);
  }
  batchEnd(): void {
    this.events.push('end');
  }
  attached(group: string): void {
    this.events.push(`in ${group}`);
  }
  ended(offset: number, deliveryNumber: number): void {
    this.events.push(`ended ${offset} ${deliveryNumber}`);
  }
  cancelled(reason: string): void {
    this.events.push(reason);
  }
}

function stored(payload: string): StoredSlice {
  const writer = new WireWriter(64);
  const messages = new StoredMessageWriter();
  messages.publishedAtMs = 77;
  messages.write(writer, message(payload), ORIGIN);
  const bytes = writer.take();
  return { bytes, start: 0, end: bytes.length };
}

const head = (consumer: number, offset: number) => ({
  consumer,
  queueId: ORDERS,
  offset: offset as Offset,
  deliveryNumber: offset + 100,
  attempt: 2,
  redelivered: true,
});
const request = (credit: number, queueId = ORDERS): ConsumeRequest => ({
  queueId,
  clientId: 'c',
  credit,
  group: undefined,
  filter: '',
  start: undefined,
  manual: false,
});
const group = { groupId: 7 as GroupId, name: 'mail' };

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
