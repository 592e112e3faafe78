import { describe, expect, test } from 'vitest';

import { type BrokerOptions, MemoryBroker } from '../../src/broker/broker.ts';
import type { Message } from '../../src/broker/message.ts';
import type {
  Match,
  Publication,
  PublishOutcome,
  Subscriber,
  SubscriptionOptions,
} from '../../src/broker/ports.ts';
import { FakeQueueClient } from '../support/fake-queue-client.ts';
import { TestClock } from '../support/mqtt-server.ts';

const ORIGIN = { clientId: 'publisher', protocol: 'mqtt' } as const;
const PUBLISHER = { origin: ORIGIN, subscriber: undefined, waiter: undefined, key: undefined };

function message(topic: string, fields: Partial<Message> = {}): Message {
  const payload = new TextEncoder().encode(topic);
  return { topic, payload, qos: 1, retain: false, properties: undefined, ...fields };
}

class Recorder implements Subscriber {
  readonly got: { topic: string; match: Match }[] = [];

  deliver(publication: Publication, match: Match): void {
    this.got.push({ topic: publication.message.topic, match });
  }

  backlog(): number {
    return 0;
  }

  get topics(): string[] {
    return this.got.map(({ topic }) => topic);
  }
}

function options(set: Partial<SubscriptionOptions> = {}): SubscriptionOptions {
  return { qos: 1, noLocal: false, retainAsPublished: false, identifier: 0, ...set };
}

function setup(limits: BrokerOptions = {}): {
  broker: MemoryBroker;
  queues: FakeQueueClient;
  clock: TestClock;
  publish: (what: Message, from?: Subscriber) => PublishOutcome;
} {
  const queues = new FakeQueueClient('orders', 'mqtt');
  const clock = new TestClock();
  const broker = new MemoryBroker(queues, clock, limits);
  const publish = (what: Message, from?: Subscriber): PublishOutcome =>
    broker.publish(what, { ...PUBLISHER, subscriber: from }, undefined);
  return { broker, queues, clock, publish };
}

function retained(broker: MemoryBroker, filter: string): string[] {
  const cursor = broker.retained(filter);
  const topics: string[] = [];
  for (;;) {
    const next = cursor?.advance(3) ?? 'done';
    if (next === 'done') return topics.sort();
    if (next !== 'more') topics.push(next.message.topic);
  }
}

describe('routes', () => {
  test.each([1, 2, 8, 9, 30])(
    '%d subscribers of one filter: each once, at its last options, until it unsubscribes',
    (count) => {
      const { broker, publish } = setup();
      const all = Array.from({ length: count }, () => new Recorder());
      for (const filter of ['a/b', 'c/+']) {
        for (const one of all) broker.subscribe(one, filter, options({ qos: 0 }));
        for (const one of all) broker.subscribe(one, filter, options({ qos: 2, noLocal: true }));
      }
      expect(broker.subscriptionCount).toBe(2 * count);
      publish(message('a/b'), all[0]);
      publish(message('c/d'));
      expect(all.map(({ topics }) => topics)).toEqual(
        all.map((_, nth) => (nth === 0 ? ['c/d'] : ['a/b', 'c/d'])),
      );
      expect(all.every(({ got }) => got.every(({ match }) => match.qos === 2))).toBe(true);
      for (const [nth, one] of all.entries()) {
        expect(broker.unsubscribe(one, 'a/b', undefined)).toBe(true);
        expect(broker.unsubscribe(one, 'a/b', undefined)).toBe(false);
        expect(broker.unsubscribe(one, 'c/+', undefined)).toBe(true);
        expect(broker.subscriptionCount).toBe(2 * (count - nth - 1));
        publish(message('a/b'));
        publish(message('c/x'));
      }
      const heard = all.map(({ got }) => got.length);
      expect(heard).toEqual(all.map((_, nth) => (nth === 0 ? 1 : 2 + 2 * nth)));
    },
  );

  test('overlapping subscriptions: one copy, at the highest QoS, with all identifiers', () => {
    const { broker, publish } = setup();
    const subscriber = new Recorder();
    broker.subscribe(subscriber, 'a/#', options({ qos: 0, identifier: 5 }));
    broker.subscribe(subscriber, 'a/+', options({ qos: 2, identifier: 6 }));
    broker.subscribe(subscriber, 'a/b', options({ qos: 1, retainAsPublished: true }));
    publish(message('a/b'));
    expect(subscriber.got).toHaveLength(1);
    const match = subscriber.got[0]?.match;
    expect(match?.qos).toBe(2);
    expect(match?.retainAsPublished).toBe(true);
    expect(new Set(match?.identifiers)).toEqual(new Set([5, 6]));
  });

  test('no-local keeps back the own publishes of that subscription alone', () => {
    const { broker, publish } = setup();
    const own = new Recorder();
    const other = new Recorder();
    broker.subscribe(own, 'a', options({ noLocal: true, identifier: 1 }));
    broker.subscribe(other, 'a', options());
    publish(message('a'), own);
    expect(own.topics).toEqual([]);
    expect(other.topics).toEqual(['a']);
    broker.subscribe(own, '+', options({ identifier: 2 }));
    publish(message('a'), own);
    expect(own.got.map(({ match }) => match.identifiers)).toEqual([[2]]);
  });

  test('a kept route follows every later subscription, unsubscription and new queue', () => {
    const { broker, queues, publish } = setup();
    const subscriber = new Recorder();
    publish(message('a/b'));
    broker.subscribe(subscriber, 'a/b', options());
    publish(message('a/b'));
    expect(broker.unsubscribe(subscriber, 'a/b')).toBe(true);
    publish(message('a/b'));
    broker.subscribe(subscriber, '#', options());
    publish(message('a/b'));
    broker.unsubscribe(subscriber, '#');
    publish(message('a/b'));
    expect(subscriber.topics).toEqual(['a/b', 'a/b']);
    publish(message('$queue/late'));
    queues.declare('late');
    publish(message('$queue/late'));
    expect(queues.texts('mqtt')).toEqual(['$queue/late']);
    expect(queues.texts('late')).toEqual(['$queue/late']);
  });

  test('more topics than routes are kept: all are routed', () => {
    const { broker, publish } = setup({ maxRoutes: 4 });
    const subscriber = new Recorder();
    broker.subscribe(subscriber, '+', options());
    const topics = Array.from({ length: 20 }, (_, at) => `t${at}`);
    for (const topic of [...topics, ...topics]) publish(message(topic));
    expect(subscriber.topics).toEqual([...topics, ...topics]);
  });

  test('S4: a topic above the level limit is refused, and kept nowhere', () => {
    const { broker, publish } = setup({ maxTopicLevels: 4 });
    expect(publish(message('a/b/c/d'))).toBe(0);
    expect(publish(message('a/b/c/d/e', { retain: true }))).toBe('topic-too-deep');
    expect(broker.retainedCount).toBe(0);
  });
});

describe('queues', () => {
  test('a message is stored once in each queue with a matching pattern, otherwise in the catch-all', () => {
    const { queues, publish } = setup();
    queues.declare('all-eu', ['$queue/orders/eu/#', '$queue/+/eu/x']);
    expect(publish(message('$queue/orders/eu/x'))).toBe('waiting');
    expect(publish(message('$queue/orders'))).toBe('waiting');
    expect(publish(message('$queue/unknown/eu/x'))).toBe('waiting');
    expect(publish(message('$queue/unknown'))).toBe('waiting');
    expect(queues.texts('orders')).toEqual(['$queue/orders/eu/x', '$queue/orders']);
    expect(queues.texts('all-eu')).toEqual(['$queue/orders/eu/x', '$queue/unknown/eu/x']);
    expect(queues.texts('mqtt')).toEqual(['$queue/unknown']);
  });

  test('the pattern $queue/# of the catch-all does not make it store what another queue has', () => {
    const queues = new FakeQueueClient('orders');
    queues.declare('mqtt', ['$queue/#']);
    const broker = new MemoryBroker(queues, new TestClock());
    broker.publish(message('$queue/orders'), PUBLISHER, undefined);
    broker.publish(message('$queue/else'), PUBLISHER, undefined);
    expect(queues.texts('mqtt')).toEqual(['$queue/else']);
  });

  test('without a catch-all, a publish that no queue takes is refused', () => {
    const broker = new MemoryBroker(new FakeQueueClient('orders'), new TestClock());
    const outcome = broker.publish(message('$queue/x'), PUBLISHER, undefined);
    expect(outcome).toBe('no-queue');
    expect(broker.counters.unansweredRefused).toBe(1);
  });

  test('Q16: hostile queue names lie in the catch-all as text, or are refused', () => {
    const { queues, publish } = setup();
    const taken = ['$queue/..', '$queue/../../etc/passwd', `$queue/${'x'.repeat(65_000)}`];
    for (const topic of [...taken, '$queue/__proto__']) {
      expect(publish(message(topic))).toBe('waiting');
    }
    expect(queues.texts('mqtt')).toEqual([...taken, '$queue/__proto__']);
    for (const topic of ['$queue/', '$queue//x', '$queue/$dlq', '$queue/$dlq/', '$queue/$x/y']) {
      expect(publish(message(topic))).toBe('no-queue');
    }
    // Reserved for settlement by publishing: it must not land in the queue as a message.
    expect(publish(message('$queue/orders/$ack'))).toBe('no-queue');
    expect(publish(message('$queue/orders/eu/$later'))).toBe('no-queue');
  });

  test('a dead-letter queue is addressed by the name of its queue, and by nothing else', () => {
    const { queues, publish } = setup();
    queues.declare('$dlq/orders');
    queues.declare('every', ['$queue/#']);
    expect(publish(message('$queue/$dlq/orders'))).toBe('waiting');
    expect(publish(message('$queue/$dlq/orders/eu'))).toBe('waiting');
    expect(queues.texts('$dlq/orders')).toEqual(['$queue/$dlq/orders', '$queue/$dlq/orders/eu']);
    expect(publish(message('$queue/$dlq/nobody'))).toBe('no-queue');
    expect(publish(message('$queue/$dlq/orders/$ack'))).toBe('no-queue');
    expect(publish(message('$queue/$dlq/$dlq'))).toBe('no-queue');
    expect(queues.texts('mqtt')).toEqual([]);
    expect(queues.texts('every')).toEqual([]);
  });

  test('Q20: a retained publish to a queue is enqueued too, and nothing is retained', () => {
    const { broker, queues, publish } = setup();
    expect(publish(message('$queue/orders', { retain: true }))).toBe('waiting');
    expect(queues.texts('orders')).toEqual(['$queue/orders']);
    expect(broker.retainedCount).toBe(0);
  });

  test('an ordinary subscription never sees what goes to a queue', () => {
    const { broker, publish } = setup();
    const subscriber = new Recorder();
    broker.subscribe(subscriber, '#', options());
    broker.subscribe(subscriber, '+/orders', options());
    publish(message('$queue/orders'));
    expect(subscriber.topics).toEqual([]);
  });
});

describe('retained messages', () => {
  test('each filter finds exactly the topics that it matches', () => {
    const { broker, publish } = setup();
    for (const topic of ['a', 'a/b', 'a/b/c', 'a//c', 'b/b', '$other/a', '/a']) {
      publish(message(topic, { retain: true }));
    }
    expect(retained(broker, '#')).toEqual(['/a', 'a', 'a//c', 'a/b', 'a/b/c', 'b/b']);
    expect(retained(broker, 'a/#')).toEqual(['a', 'a//c', 'a/b', 'a/b/c']);
    expect(retained(broker, 'a/+/c')).toEqual(['a//c', 'a/b/c']);
    expect(retained(broker, '+/b')).toEqual(['a/b', 'b/b']);
    expect(retained(broker, '+/+')).toEqual(['/a', 'a/b', 'b/b']);
    expect(retained(broker, '$other/#')).toEqual(['$other/a']);
    expect(retained(broker, 'a/b')).toEqual(['a/b']);
    expect(retained(broker, 'a/x')).toEqual([]);
  });

  test('an empty payload removes it; a new message takes its place', () => {
    const { broker, publish } = setup();
    publish(message('a', { retain: true }));
    publish(message('a', { retain: true, payload: new Uint8Array([1]) }));
    expect(broker.retainedCount).toBe(1);
    publish(message('a', { retain: true, payload: new Uint8Array() }));
    expect(broker.retainedCount).toBe(0);
    expect(retained(broker, '#')).toEqual([]);
  });

  test('above the limits a new one is refused as a whole, one in place of another is not', () => {
    const { broker, publish } = setup({ maxRetainedMessages: 1, maxRetainedBytes: 2000 });
    const subscriber = new Recorder();
    broker.subscribe(subscriber, '#', options());
    expect(publish(message('a', { retain: true }))).toBe(0);
    expect(publish(message('b', { retain: true }))).toBe('retained-full');
    expect(publish(message('a', { retain: true }))).toBe(0);
    const large = new Uint8Array(3000);
    expect(publish(message('a', { retain: true, payload: large }))).toBe('retained-full');
    expect(subscriber.topics).toEqual(['a', 'a']);
  });

  test('there is nothing to walk for a filter whose first level nobody has', () => {
    const { broker, publish } = setup();
    expect(broker.retained('#')).toBeUndefined();
    publish(message('a/b', { retain: true }));
    for (const filter of ['a', 'a/b', 'a/#', '+', '#']) {
      expect(broker.retained(filter), filter).toBeDefined();
    }
    for (const filter of ['b', 'b/#', 'a$/b', '', '/a']) {
      expect(broker.retained(filter), filter).toBeUndefined();
    }
    publish(message('a/b', { retain: true, payload: new Uint8Array() }));
    expect(broker.retained('#')).toBeUndefined();
  });

  test('the bytes are its own: the receive buffer may change', () => {
    const { broker, publish } = setup();
    const payload = new Uint8Array([1, 2, 3]);
    const correlationId = new Uint8Array([4]);
    publish(message('a', { retain: true, payload, properties: { correlationId } }));
    payload.fill(9);
    correlationId.fill(9);
    const found = broker.retained('a')?.advance(10);
    expect(found).toMatchObject({
      message: {
        payload: new Uint8Array([1, 2, 3]),
        properties: { correlationId: new Uint8Array([4]) },
      },
    });
  });

  test('an expired one is not shown, and is removed in time', () => {
    const { broker, clock, publish } = setup();
    publish(message('a', { retain: true, properties: { expirySeconds: 10 } }));
    clock.advance(9999);
    expect(retained(broker, '#')).toEqual(['a']);
    clock.advance(1);
    expect(retained(broker, '#')).toEqual([]);
    expect(broker.retainedCount).toBe(1);
    broker.tick();
    expect(broker.retainedCount).toBe(0);
  });

  test('S4: a walk takes no more steps than asked, and survives changes between them', () => {
    const { broker, publish } = setup();
    for (let at = 0; at < 100; at++) publish(message(`a/${at}/b`, { retain: true }));
    const cursor = broker.retained('+/+/x');
    expect(cursor?.advance(50)).toBe('more');
    for (let at = 0; at < 100; at++) {
      publish(message(`a/${at}/b`, { retain: true, payload: new Uint8Array() }));
    }
    let calls = 0;
    while (cursor?.advance(50) === 'more') calls++;
    expect(calls).toBeLessThan(10);
  });
});

test('the will of a session that ended with its connection is published as any message', () => {
  const { broker, queues } = setup();
  const subscriber = new Recorder();
  broker.subscribe(subscriber, 'will', options());
  broker.publishWill({ origin: ORIGIN, message: message('will') });
  broker.publishWill({ origin: ORIGIN, message: message('$queue/orders') });
  expect(subscriber.topics).toEqual(['will']);
  expect(queues.texts('orders')).toEqual(['$queue/orders']);
});
