import { describe, expect, test } from 'vitest';

import { MemoryBroker } from '../../src/broker/broker.ts';
import type { Message } from '../../src/broker/message.ts';
import type {
  Committed,
  EnqueueRefusal,
  EnqueueWaiter,
  PublishOutcome,
} from '../../src/broker/ports.ts';
import { FakeQueueClient } from '../support/fake-queue-client.ts';
import { TestClock } from '../support/mqtt-server.ts';

class Publisher implements EnqueueWaiter {
  readonly origin = { clientId: 'sensor', protocol: 'mqtt' } as const;
  readonly subscriber = undefined;
  readonly waiter = this;
  readonly key = undefined;
  readonly told: [tag: number, outcome: 'committed' | EnqueueRefusal][] = [];

  enqueued(tag: number, outcome: Committed | EnqueueRefusal): void {
    this.told.push([tag, typeof outcome === 'number' ? 'committed' : outcome]);
  }
}

function setup(): {
  broker: MemoryBroker;
  queues: FakeQueueClient;
  publisher: Publisher;
  live: string[];
  publish: (topic: string, tag?: number, set?: Partial<Message>) => PublishOutcome;
} {
  const queues = new FakeQueueClient('mqtt');
  queues.mode = 'manual';
  const broker = new MemoryBroker(queues, new TestClock());
  const publisher = new Publisher();
  const live: string[] = [];
  const subscriber = {
    deliver: ({ message }: { message: Message }): void => {
      live.push(message.topic);
    },
    backlog: () => 0,
  };
  broker.subscribe(subscriber, '#', {
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    identifier: 0,
  });
  const publish = (topic: string, tag?: number, set: Partial<Message> = {}): PublishOutcome => {
    const payload = new TextEncoder().encode(topic);
    const message = {
      topic,
      payload,
      qos: 1,
      retain: false,
      properties: undefined,
      ...set,
    } as const;
    return broker.publish(message, publisher, tag);
  };
  return { broker, queues, publisher, live, publish };
}

describe('the queue of a session', () => {
  test('takes what is published at QoS 1 and 2, and nothing at QoS 0', () => {
    const { broker, queues, publish } = setup();
    queues.declare('$session/c1', ['m/#'], { type: 'session' });
    expect(publish('m/1', undefined, { qos: 0 })).toBe(0);
    expect(publish('m/1', 7)).toBe('waiting');
    expect(publish('m/1', 8, { qos: 2 })).toBe('waiting');
    queues.declare('archive', ['m/#']);
    expect(publish('m/2', undefined, { qos: 0 })).toBe('waiting');
    expect(publish('m/2', undefined, { qos: 0 })).toBe('waiting');
    expect(queues.texts('$session/c1')).toEqual(['m/1', 'm/1']);
    expect(queues.texts('archive')).toEqual(['m/2', 'm/2']);
    expect(broker.counters.captured).toBe(4);
  });

  test('is no target of a publish to its name', () => {
    const { queues, publish } = setup();
    queues.declare('$session/c1', []);
    expect(publish('$queue/$session/c1', 7)).toBe('no-queue');
    expect(publish('$queue/$session/c1/x', 7)).toBe('no-queue');
    expect(queues.texts('$session/c1')).toEqual([]);
  });
});

describe('a queue that captures ordinary topics', () => {
  test('a publish goes to its subscribers and into the queue; it is acknowledged after the append', () => {
    const { queues, publisher, live, publish } = setup();
    queues.declare('archive', ['$queue/archive/#', 'm/#']);
    expect(publish('m/1/temperature', 7)).toBe('waiting');
    expect(publish('m', 8)).toBe('waiting');
    expect(publish('n', 9)).toBe(0);
    expect(live).toEqual(['m/1/temperature', 'm', 'n']);
    expect(queues.texts('archive')).toEqual(['m/1/temperature', 'm']);
    expect(publisher.told).toEqual([]);
    queues.answer(2);
    expect(publisher.told).toEqual([
      [7, 'committed'],
      [8, 'committed'],
    ]);
  });

  test('that is gone when the publish arrives takes nothing, and that is no refusal', () => {
    const { queues, publisher, publish } = setup();
    queues.declare('archive', ['m/#']);
    expect(publish('m', 7)).toBe('waiting');
    expect(publish('$queue/mqtt', 8)).toBe('waiting');
    queues.answer(2, 'no-queue');
    expect(publisher.told).toEqual([
      [7, 'committed'],
      [8, 'no-queue'],
    ]);
  });

  test('Q11: two queues have one copy each, also where two patterns of one match', () => {
    const { queues, publish } = setup();
    queues.declare('a', ['m/#', 'm/+/x', '$queue/a/#']);
    queues.declare('b', ['+/1/x']);
    expect(publish('m/1/x', 1)).toBe('waiting');
    expect(queues.texts('a')).toEqual(['m/1/x']);
    expect(queues.texts('b')).toEqual(['m/1/x']);
    expect(queues.unanswered).toBe(1);
  });

  test('Q12: a stalled queue does not delay the subscribers of the topic that it captures', () => {
    const { queues, live, publish } = setup();
    queues.declare('archive', ['m/#']);
    queues.writable = false;
    for (let tag = 1; tag <= 100; tag++) publish(`m/${tag}`, tag);
    expect(queues.unanswered).toBe(100);
    expect(live).toHaveLength(100);
  });

  test('a refused append is told to the publisher, although the subscribers have the message', () => {
    const { queues, publisher, live, publish } = setup();
    queues.declare('archive', ['m/#']);
    publish('m/1', 5);
    queues.answer(1, 'queue-full');
    expect(publisher.told).toEqual([[5, 'queue-full']]);
    expect(live).toEqual(['m/1']);
  });

  test('capture async: acknowledged at once, and a lost append is counted', () => {
    const { broker, queues, publish } = setup();
    queues.declare('archive', ['m/#'], { capture: 'async' });
    expect(publish('m/1', 1)).toBe(0);
    expect(publish('m/2', 2)).toBe(0);
    queues.answer(1);
    expect(broker.counters).toMatchObject({ captured: 2, captureLost: 0 });
    queues.answer(1, 'disk-full');
    expect(broker.counters).toMatchObject({ captured: 2, captureLost: 1, unansweredRefused: 0 });
  });

  test('beside an async queue, a sync one is waited for', () => {
    const { broker, queues, publisher, publish } = setup();
    queues.declare('fast', ['m/#'], { capture: 'async' });
    queues.declare('sure', ['m/#']);
    expect(publish('m/1', 1)).toBe('waiting');
    expect(queues.texts('fast')).toEqual(['m/1']);
    expect(queues.texts('sure')).toEqual(['m/1']);
    queues.answer(2);
    expect(publisher.told).toEqual([[1, 'committed']]);
    expect(broker.counters.captured).toBe(2);
  });

  test('at QoS 0 nobody waits: a lost append is counted', () => {
    const { broker, queues, publish } = setup();
    queues.declare('archive', ['m/#']);
    expect(publish('m/1', undefined, { qos: 0 })).toBe('waiting');
    queues.answer(1, 'unavailable');
    expect(broker.counters.captureLost).toBe(1);
  });

  test('a retained message is retained and captured', () => {
    const { broker, queues, publish } = setup();
    queues.declare('archive', ['m/#']);
    expect(publish('m/1', 1, { retain: true })).toBe('waiting');
    expect(broker.retainedCount).toBe(1);
    expect(queues.texts('archive')).toEqual(['m/1']);
  });

  test('a kept route follows a queue that begins to capture, and one that ends', () => {
    const { queues, publish } = setup();
    expect(publish('m/1', 1)).toBe(0);
    queues.declare('archive', ['m/#']);
    expect(publish('m/1', 2)).toBe('waiting');
    queues.remove('archive');
    expect(publish('m/1', 3)).toBe(0);
  });

  test('P1: a pattern that begins with a wildcard captures no topic that begins with $', () => {
    const { queues, publish } = setup();
    queues.declare('all', ['#']);
    expect(publish('$other/x', 1)).toBe(0);
    expect(publish('$queue/nobody', 2)).toBe('waiting');
    expect(publish('x', 3)).toBe('waiting');
    expect(queues.texts('all')).toEqual(['x']);
    expect(queues.texts('mqtt')).toEqual(['$queue/nobody']);
  });
});
