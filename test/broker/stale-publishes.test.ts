/** Publishes that wait until the routes of this node are known to be current. */

import { describe, expect, onTestFinished, test, vi } from 'vitest';

import { MemoryBroker } from '../../src/broker/broker.ts';
import type { Message } from '../../src/broker/message.ts';
import type { PublishKey, PublishOutcome, Publisher } from '../../src/broker/ports.ts';
import { STALE_BYTES_MAX } from '../../src/broker/stale-publishes.ts';
import { FakeFreshness } from '../support/fake-freshness.ts';
import { FakeQueueClient } from '../support/fake-queue-client.ts';
import { TestClock } from '../support/mqtt-server.ts';

class World {
  readonly freshness = new FakeFreshness();
  readonly queues = new FakeQueueClient('orders');
  readonly broker: MemoryBroker;
  /** What live subscribers got. */
  readonly live: string[] = [];
  readonly told: [tag: number, outcome: string][] = [];
  readonly publisher: Publisher & { key: PublishKey | undefined };

  constructor() {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    this.queues.mode = 'manual';
    this.queues.isShared = true;
    this.queues.freshness = this.freshness;
    this.broker = new MemoryBroker(this.queues, new TestClock());
    const deliver = ({ message }: { message: Message }): void => {
      this.live.push(Buffer.from(message.payload).toString());
    };
    const options = { qos: 1, noLocal: false, retainAsPublished: false, identifier: 0 } as const;
    this.broker.subscribe({ deliver, backlog: () => 0 }, '#', options);
    const waiter = {
      enqueued: (tag: number, outcome: number | string): void => {
        const word = typeof outcome === 'number' ? 'done' : outcome;
        this.told.push([tag, word]);
      },
    };
    const origin = { clientId: 'c', protocol: 'mqtt' } as const;
    this.publisher = { origin, subscriber: undefined, waiter, key: undefined };
  }

  publish(text: string, tag?: number, set: Partial<Message> = {}): PublishOutcome {
    const payload = Buffer.from(text);
    const plain = { topic: 'a', payload, qos: 1, retain: false, properties: undefined } as const;
    return this.broker.publish({ ...plain, ...set }, this.publisher, tag);
  }

  /** Time passes, on both clocks. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 50) {
      this.freshness.nowMs += 50;
      vi.advanceTimersByTime(50);
    }
  }
}

describe('a publish while the routes may be stale', () => {
  test('waits, and goes to the session of which this node was not told', () => {
    const world = new World();
    expect(world.publish('1', 7)).toBe('waiting');
    expect([world.live, world.told]).toEqual([[], []]);
    world.queues.declare('$session/c1', ['a'], { type: 'session' });
    world.freshness.answer();
    expect(world.queues.texts('$session/c1')).toEqual(['1']);
    expect(world.live).toEqual(['1']);
    expect(world.told).toEqual([]);
    world.queues.answer(1);
    expect(world.told).toEqual([[7, 'done']]);
    expect(world.broker.counters).toMatchObject({ published: 1, captured: 1 });
  });

  test('goes at once while they are current, and waits when a process wakes up late', () => {
    const world = new World();
    world.freshness.answer();
    expect(world.publish('1', 1)).toBe(0);
    // No timer has fired: the process was stopped.
    world.freshness.nowMs += 60_000;
    expect(world.publish('2', 2)).toBe('waiting');
    expect(world.live).toEqual(['1']);
  });

  test('keeps its place: none overtakes, and live subscribers get each once', () => {
    const world = new World();
    for (let tag = 1; tag <= 3; tag++) expect(world.publish(`${tag}`, tag)).toBe('waiting');
    world.freshness.asOf = world.freshness.nowMs;
    // Nobody was told yet: those that wait go first.
    expect(world.publish('4', 4)).toBe('waiting');
    world.freshness.answer();
    expect(world.live).toEqual(['1', '2', '3', '4']);
    expect(world.told.map(([tag]) => tag)).toEqual([1, 2, 3, 4]);
    expect(world.publish('5', 5)).toBe(0);
    expect(world.live).toEqual(['1', '2', '3', '4', '5']);
  });

  test('goes by an answer to a question that came behind it, even if that took long', () => {
    const world = new World();
    world.publish('1', 1);
    const askedAt = world.freshness.nowMs;
    world.freshness.nowMs += 2_000;
    world.publish('2', 2);
    world.freshness.answer(askedAt);
    expect(world.live).toEqual(['1']);
    world.freshness.answer();
    expect(world.live).toEqual(['1', '2']);
  });

  test('does not wait at QoS 0, nor to a queue, which is found by its name', () => {
    const world = new World();
    expect(world.publish('0', undefined, { qos: 0 })).toBe(0);
    expect(world.publish('q', 1, { topic: '$queue/orders' })).toBe('waiting');
    expect(world.queues.texts('orders')).toEqual(['q']);
    expect(world.publish('1', 2)).toBe('waiting');
    expect(world.publish('00', undefined, { qos: 0 })).toBe(0);
    expect(world.publish('qq', 3, { topic: '$queue/orders' })).toBe('waiting');
    expect(world.queues.texts('orders')).toEqual(['q', 'qq']);
    expect(world.live).toEqual(['0', '00']);
  });

  test('is not overtaken by a will, nor by what is retained, at whatever QoS', () => {
    const world = new World();
    // Nobody waits for these: alone they go at once.
    expect(world.publish('will', undefined)).toBe(0);
    world.publish('online', 1, { retain: true });
    world.publish('changed', undefined, { retain: true, qos: 0 });
    world.publish('offline', undefined);
    expect(world.live).toEqual(['will']);
    world.freshness.answer();
    expect(world.live).toEqual(['will', 'online', 'changed', 'offline']);
    expect(world.told).toEqual([[1, 'done']]);
  });

  test('has bytes and a publisher of its own', () => {
    const world = new World();
    world.queues.declare('$session/c1', ['a'], { type: 'session' });
    const payload = Buffer.from('1');
    const key = { session: 's', ownerEpoch: 1, packetId: 5 };
    world.publisher.key = key;
    world.publish('', 1, { payload, qos: 2 });
    payload.fill(0);
    world.publisher.key = undefined;
    world.freshness.answer();
    expect(world.queues.texts('$session/c1')).toEqual(['1']);
    expect(world.queues.keys).toEqual([key]);
  });

  test('is refused when no shard answers for ack_timeout, and nothing of it was done', () => {
    const world = new World();
    world.publish('1', 1);
    world.pass(5_000);
    world.publish('2', 2);
    world.publish('will', undefined);
    world.pass(4_950);
    expect(world.told).toEqual([]);
    const { asked } = world.freshness;
    world.pass(100);
    expect(world.told).toEqual([[1, 'unavailable']]);
    // It goes on asking.
    expect(world.freshness.asked).toBeGreaterThan(asked);
    world.pass(5_000);
    expect(world.told).toEqual([
      [1, 'unavailable'],
      [2, 'unavailable'],
    ]);
    // What nobody waits for is never refused for it.
    expect(world.live).toEqual(['will']);
    expect(world.publish('3', 3)).toBe('waiting');
    expect(world.broker.waitingPublishes).toBe(1);
    world.broker.stop();
    expect(world.told.at(-1)).toEqual([3, 'unavailable']);
    expect(world.broker.waitingPublishes).toBe(0);
    expect(world.broker.counters).toMatchObject({ held: 4, unrouted: 3 });
  });

  test('is bounded: publishers are stopped at the half, and go on below a quarter', () => {
    const world = new World();
    let goOns = 0;
    world.broker.onWritable(() => void goOns++);
    const payload = new Uint8Array(1024 * 1024);
    let tag = 0;
    const publish = (): PublishOutcome => world.publish('', ++tag, { payload });
    while (!world.broker.isBehind) expect(publish()).toBe('waiting');
    expect(tag).toBe(8);
    expect(world.broker.writable).toBe(false);
    let outcome = publish();
    while (outcome === 'waiting') outcome = publish();
    expect(outcome).toBe('unavailable');
    expect((tag - 1) * payload.length).toBeLessThan(STALE_BYTES_MAX);
    expect(world.broker.counters).toMatchObject({ held: tag - 1, unrouted: 1 });
    // Rather early than never.
    expect(world.publish('will', undefined, { payload })).toBe(0);
    expect(goOns).toBe(0);
    world.freshness.answer();
    expect([world.broker.isBehind, world.broker.writable, goOns]).toEqual([false, true, 1]);
    expect(world.live).toHaveLength(tag);
  });

  test('goes on in parts when many waited, and what comes meanwhile keeps its place', async () => {
    const world = new World();
    for (let tag = 0; tag < 3_000; tag++) world.publish(`${tag}`, tag);
    world.freshness.answer();
    expect(world.live.length).toBeLessThan(3_000);
    expect(world.publish('3000', 3_000)).toBe('waiting');
    while (world.live.length < 3_001) await new Promise((resolve) => setImmediate(resolve));
    expect(world.live).toEqual(Array.from({ length: 3_001 }, (_none, nth) => `${nth}`));
    expect(world.told).toHaveLength(3_001);
  });
});
