import { describe, expect, test } from 'vitest';

import { type BrokerOptions, MemoryBroker } from '../../src/broker/broker.ts';
import {
  AdminError,
  type Committed,
  type EnqueueRefusal,
  type PublishOutcome,
  type QueueDefinition,
} from '../../src/broker/ports.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import { FakeQueueClient } from '../support/fake-queue-client.ts';
import { TestClock, until } from '../support/mqtt-server.ts';

function definitionOf(name: string): QueueDefinition | undefined {
  if (name === 'bad') return undefined;
  return { name, type: 'classic', topics: [`$queue/${name}/#`], limits: DEFAULT_LIMITS };
}

interface Gate {
  open: () => void;
  fail: (error: Error) => void;
}

function setup(options: BrokerOptions = {}): {
  broker: MemoryBroker;
  queues: FakeQueueClient;
  told: [tag: number, outcome: 'committed' | EnqueueRefusal][];
  publish: (topic: string, tag?: number, payload?: Uint8Array) => PublishOutcome;
  gate: Gate;
} {
  const queues = new FakeQueueClient('orders', 'mqtt');
  const broker = new MemoryBroker(queues, new TestClock(), { autoQueue: definitionOf, ...options });
  const told: [number, 'committed' | EnqueueRefusal][] = [];
  const waiter = {
    enqueued: (tag: number, outcome: Committed | EnqueueRefusal): void => {
      told.push([tag, typeof outcome === 'number' ? 'committed' : outcome]);
    },
  };
  const origin = { clientId: 'c', protocol: 'mqtt' } as const;
  const publisher = { origin, subscriber: undefined, waiter, key: undefined };
  const publish = (topic: string, tag?: number, payload?: Uint8Array): PublishOutcome => {
    const bytes = payload ?? new TextEncoder().encode(`${topic} ${tag}`);
    const set = { qos: 1, retain: false, properties: undefined } as const;
    return broker.publish({ topic, payload: bytes, ...set }, publisher, tag);
  };
  const gate: Gate = { open: () => {}, fail: () => {} };
  queues.declareGate = new Promise((resolve, reject) => {
    gate.open = resolve;
    gate.fail = reject;
  });
  return { broker, queues, told, publish, gate };
}

describe('queues that are made on their first use', () => {
  test('a publish to an unknown name makes the queue, once, and all wait for it in order', async () => {
    const { queues, told, publish, gate } = setup();
    for (let tag = 1; tag <= 3; tag++) expect(publish('$queue/new/x', tag)).toBe('waiting');
    expect(publish('$queue/orders', 4)).toBe('waiting');
    gate.open();
    await until(() => told.length === 4);
    expect(queues.declared.map(({ name }) => name)).toEqual(['new']);
    expect(queues.texts('new')).toEqual(['$queue/new/x 1', '$queue/new/x 2', '$queue/new/x 3']);
    expect(queues.texts('orders')).toEqual(['$queue/orders 4']);
    expect(queues.texts('mqtt')).toEqual([]);
    expect(new Set(told.map(([, outcome]) => outcome))).toEqual(new Set(['committed']));
  });

  test('a publish that comes when the queue shows up does not overtake those that wait', async () => {
    const { queues, told, publish, gate } = setup();
    publish('$queue/new', 1);
    queues.declare('new');
    publish('$queue/new', 2);
    gate.open();
    await until(() => told.length === 2);
    expect(queues.texts('new')).toEqual(['$queue/new 1', '$queue/new 2']);
    publish('$queue/new', 3);
    expect(queues.texts('new')).toHaveLength(3);
  });

  test.each([
    ['invalid', 'no-queue'],
    ['unavailable', 'unavailable'],
  ] as const)(
    'a declaration that is refused (%s) refuses those that wait',
    async (code, refusal) => {
      const { broker, told, publish, gate } = setup();
      publish('$queue/new', 1);
      publish('$queue/new');
      gate.fail(new AdminError(code, 'no'));
      await until(() => told.length === 1);
      expect(told).toEqual([[1, refusal]]);
      expect(broker.counters.unansweredRefused).toBe(1);
    },
  );

  test('a name that no queue may have goes to the catch-all, as without it', () => {
    const { queues, publish } = setup();
    expect(publish('$queue/bad', 1)).toBe('waiting');
    expect(publish('$queue/$dlq/orders', 2)).toBe('no-queue');
    expect(publish('$queue/new/$ack', 3)).toBe('no-queue');
    expect(queues.texts('mqtt')).toEqual(['$queue/bad 1']);
    expect(queues.declared).toEqual([]);
  });

  test('a queue that has no pattern of its own is there all the same: none is made', () => {
    const { queues, publish } = setup();
    queues.declare('archive', ['m/#']);
    expect(publish('$queue/archive/x', 1)).toBe('waiting');
    expect(queues.texts('mqtt')).toEqual(['$queue/archive/x 1']);
    expect(queues.declared).toEqual([]);
  });

  test('what waits has bytes of its own: the receive buffer may change', async () => {
    const { queues, told, publish, gate } = setup();
    const payload = new TextEncoder().encode('x');
    publish('$queue/new', 1, payload);
    payload.fill(0);
    gate.open();
    await until(() => told.length === 1);
    expect(queues.texts('new')).toEqual(['x']);
  });

  test('with as many queues as may be, no further one is made, and that is said', async () => {
    const { broker, queues, publish } = setup({ maxQueues: 3 });
    expect(publish('$queue/third', 1)).toBe('waiting');
    expect(publish('$queue/fourth', 2)).toBe('too-many-queues');
    expect(await broker.makeQueue('fourth')).toBe('too-many-queues');
    expect(publish('$queue/third', 3)).toBe('waiting');
    expect(queues.declared.map(({ name }) => name)).toEqual(['third']);
  });

  test('what waits is bounded in bytes, and given free', async () => {
    const { told, publish, gate } = setup();
    const large = new Uint8Array(6 * 1024 * 1024);
    expect(publish('$queue/new', 1, large)).toBe('waiting');
    expect(publish('$queue/new', 2, large)).toBe('waiting');
    expect(publish('$queue/new', 3, large)).toBe('unavailable');
    gate.open();
    await until(() => told.length === 2);
    expect(publish('$queue/second', 4, large)).toBe('waiting');
    expect(publish('$queue/third', 5, large)).toBe('waiting');
  });

  test('a subscription makes it too; both share one declaration', async () => {
    const { broker, queues, publish, gate } = setup();
    publish('$queue/new', 1);
    const made = broker.makeQueue('new');
    gate.open();
    expect(await made).toMatchObject({ name: 'new', type: 'classic' });
    expect(queues.declared).toHaveLength(1);
    expect(broker.makeQueue('bad')).toBeUndefined();
  });

  test('off: nothing is made', () => {
    const broker = new MemoryBroker(new FakeQueueClient('mqtt'), new TestClock());
    expect(broker.makeQueue('new')).toBeUndefined();
  });
});
