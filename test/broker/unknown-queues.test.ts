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
  /** Another broker over the same queues, which the publishes go to from then on. */
  again: () => MemoryBroker;
} {
  const queues = new FakeQueueClient('orders', 'mqtt');
  const newBroker = (): MemoryBroker =>
    new MemoryBroker(queues, new TestClock(), { autoQueue: definitionOf, ...options });
  let broker = newBroker();
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
  const again = (): MemoryBroker => {
    broker = newBroker();
    return broker;
  };
  return { broker, queues, told, publish, gate, again };
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

describe('queues that other nodes make', () => {
  interface Look {
    readonly name: string;
    readonly answer: (isKnown?: boolean) => void;
  }

  function shared(options: BrokerOptions = { autoQueue: () => undefined }) {
    const world = setup(options);
    const looks: Look[] = [];
    world.queues.isShared = true;
    world.queues.look = (name) =>
      new Promise((resolve) => {
        looks.push({ name, answer: (isKnown = true) => resolve(isKnown) });
      });
    return { ...world, looks, broker: world.again() };
  }

  const looked = (looks: readonly Look[]): string[] => looks.map(({ name }) => name);

  test('C19: a publish to a name that is not known waits for a look, and goes where it shows', async () => {
    const { queues, told, publish, looks } = shared();
    expect(publish('$queue/new/x', 1)).toBe('waiting');
    expect(publish('$queue/new/y', 2)).toBe('waiting');
    expect(publish('$queue/orders', 3)).toBe('waiting');
    await until(() => looks.length === 1);
    queues.declare('new');
    looks[0]?.answer();
    await until(() => told.length === 3);
    expect(looked(looks)).toEqual(['new']);
    expect(queues.texts('new')).toEqual(['$queue/new/x 1', '$queue/new/y 2']);
    expect(queues.texts('mqtt')).toEqual([]);
  });

  test('one that is nowhere goes to the catch-all, or is refused, after the look alone', async () => {
    const { queues, told, publish, looks } = shared();
    publish('$queue/nowhere', 1);
    publish('$queue/$dlq/nowhere', 2);
    await until(() => looks.length === 2);
    expect(told).toEqual([]);
    for (const look of looks) look.answer();
    await until(() => told.length === 2);
    expect(queues.texts('mqtt')).toEqual(['$queue/nowhere 1']);
    expect(told).toContainEqual([2, 'no-queue']);
    expect(publish('$queue/orders/$ack', 3)).toBe('no-queue');
    expect(looks).toHaveLength(2);
  });

  test('a publish that comes while a name is looked for needs a newer answer', async () => {
    const { queues, told, publish, looks } = shared();
    publish('$queue/new', 1);
    await until(() => looks.length === 1);
    publish('$queue/new', 2);
    looks[0]?.answer();
    await until(() => looks.length === 2);
    expect(queues.texts('mqtt')).toEqual(['$queue/new 1']);
    queues.declare('new');
    looks[1]?.answer();
    await until(() => told.length === 2);
    expect(queues.texts('new')).toEqual(['$queue/new 2']);
  });

  test('nothing overtakes what waits when the queue, or one that takes its topic, shows up', async () => {
    const { queues, publish, looks } = shared();
    publish('$queue/new/x', 1);
    await until(() => looks.length === 1);
    publish('$queue/new/x', 2);
    publish('$queue/new/z', 3);
    queues.declare('other', ['$queue/new/x']);
    publish('$queue/new/x', 4);
    expect(queues.texts('other')).toEqual([1, 2, 4].map((tag) => `$queue/new/x ${tag}`));
    queues.declare('new');
    publish('$queue/new/z', 5);
    expect(queues.texts('new')).toEqual(['$queue/new/z 3', '$queue/new/z 5']);
  });

  test('where nobody can be asked, it is unavailable and not unknown', async () => {
    const { broker, queues, told, publish, looks } = shared();
    publish('$queue/new', 1);
    const found = broker.findQueue('new');
    await until(() => looks.length === 2);
    for (const look of looks) look.answer(false);
    await until(() => told.length === 1);
    expect(told).toEqual([[1, 'unavailable']]);
    expect(await found).toBe('unavailable');
    expect(queues.texts('mqtt')).toEqual([]);
  });

  test('only what no other node has is made on its first use', async () => {
    const { broker, queues, told, publish, looks, gate } = shared({});
    gate.open();
    publish('$queue/there', 1);
    publish('$queue/new', 2);
    const made = broker.makeQueue('third');
    await until(() => looks.length === 3);
    queues.declare('there');
    for (const look of looks) look.answer();
    await until(() => told.length === 2);
    expect(await made).toMatchObject({ name: 'third' });
    expect(new Set(queues.declared.map(({ name }) => name))).toEqual(new Set(['new', 'third']));
    expect(queues.texts('there')).toEqual(['$queue/there 1']);
    expect(queues.texts('new')).toEqual(['$queue/new 2']);
  });

  test('a publish whose queue was deleted, and made anew elsewhere, goes to the new one, once', async () => {
    const { queues, told, looks } = shared();
    const waiter = {
      enqueued: (tag: number, outcome: Committed | EnqueueRefusal): void => {
        told.push([tag, typeof outcome === 'number' ? 'committed' : outcome]);
      },
    };
    const origin = { clientId: 'c', protocol: 'mqtt' } as const;
    const gone = (topic: string, of = waiter): boolean => {
      const set = { qos: 1, retain: false, properties: undefined } as const;
      const message = { topic, payload: new TextEncoder().encode(topic), ...set };
      return queues.gone({ message, origin, waiter: of, tag: 1, key: undefined });
    };
    expect(gone('m/x')).toBe(false);
    expect(gone('$queue/orders/x')).toBe(true);
    await until(() => looks.length === 1);
    // What this node still shows under the name is the one that is gone.
    queues.declare('other');
    queues.remove('orders');
    queues.declare('orders');
    let second: typeof waiter | undefined;
    const enqueue = queues.enqueue.bind(queues);
    queues.enqueue = (targets, message, from, of, tag, key): void => {
      second = of as typeof waiter;
      enqueue(targets, message, from, of, tag, key);
    };
    looks[0]?.answer();
    await until(() => told.length === 1);
    expect(told).toEqual([[1, 'committed']]);
    expect(queues.texts('orders')).toEqual(['$queue/orders/x']);
    expect(gone('$queue/orders/x', second)).toBe(false);
  });

  test('what waits asks publishers to stop, before anything is refused, and to go on', async () => {
    const { broker, told, publish, looks } = shared();
    let wakes = 0;
    broker.onWritable(() => void wakes++);
    const large = new Uint8Array(3 * 1024 * 1024);
    for (let tag = 1; tag <= 3; tag++) publish('$queue/new', tag, large);
    expect(broker.writable).toBe(false);
    await until(() => looks.length === 1);
    looks[0]?.answer();
    await until(() => told.length === 3);
    expect([broker.writable, wakes]).toEqual([true, 1]);
  });
});
