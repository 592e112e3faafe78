/**
 * QoS 2 publishes of durable sessions to shares with durable members: whom the log knows of gets
 * them, once, however often they are tried and by whichever node.
 */

import { describe, expect, test } from 'vitest';
import { MemoryBroker } from '../../src/broker/broker.ts';
import { markOf } from '../../src/broker/copy-mark.ts';
import { DurableShare } from '../../src/broker/durable-shares.ts';
import {
  type EnqueueRefusal,
  type Match,
  type Publication,
  type PublishOutcome,
  type QueueId,
  type SessionHandle,
  type Subscriber,
} from '../../src/broker/ports.ts';
import { FakeQueueClient } from '../support/fake-queue-client.ts';
import { TestClock, until } from '../support/mqtt-server.ts';

const SHARE = '$share/g/a/+';
const ASLEEP = '$share/asleep';
const LIMITS = { maxMessages: 10, maxBytes: 0, overflow: 'drop-head' } as const;

class Member implements Subscriber {
  readonly queueId: QueueId | undefined;
  readonly got: string[] = [];

  constructor(queueId?: QueueId) {
    this.queueId = queueId;
  }

  deliver({ message }: Publication, _match: Match): void {
    this.got.push(Buffer.from(message.payload).toString());
  }

  backlog(): number {
    return 0;
  }
}

/** A node of a cluster: all of them have the same queues. */
class Node {
  readonly broker: MemoryBroker;
  readonly told: [tag: number, outcome: unknown][] = [];
  readonly #queues: FakeQueueClient;
  readonly #handle: SessionHandle;

  constructor(queues: FakeQueueClient, handle: SessionHandle) {
    this.#queues = queues;
    this.#handle = handle;
    this.broker = new MemoryBroker(queues, new TestClock());
  }

  join(queueId?: QueueId, share: 'g' | 'alone' = 'g'): Member {
    const member = new Member(queueId);
    const options = { qos: 2, noLocal: false, retainAsPublished: false, identifier: 0 } as const;
    this.broker.subscribe(member, 'a/+', share === 'alone' ? options : { ...options, share });
    return member;
  }

  publish(text: string, packetId = 1): PublishOutcome {
    const payload = Buffer.from(text);
    const { clientId, queueId, ownerEpoch, incarnation } = this.#handle;
    const publisher = {
      origin: { clientId, protocol: 'mqtt' },
      subscriber: new Member(queueId),
      waiter: {
        enqueued: (tag: number, outcome: unknown): void => {
          this.told.push([tag, typeof outcome === 'string' ? outcome : 'done']);
        },
      },
      key: { session: incarnation, ownerEpoch, packetId },
    } as const;
    const message = {
      topic: 'a/b',
      payload,
      qos: 2,
      retain: false,
      properties: undefined,
    } as const;
    const outcome = this.broker.publish(message, publisher, packetId);
    payload.fill(0x2e);
    return outcome;
  }

  /** The next `count` appends are on their way. */
  async appends(count: number): Promise<void> {
    await until(() => this.#queues.unanswered === count);
  }

  async tells(count: number): Promise<void> {
    await until(() => this.told.length === count);
  }
}

class World {
  readonly queues = new FakeQueueClient('mqtt');
  readonly handle: SessionHandle;

  private constructor(handle: SessionHandle, queues: FakeQueueClient) {
    this.handle = handle;
    this.queues = queues;
    queues.mode = 'manual';
  }

  static async open(): Promise<World> {
    const queues = new FakeQueueClient('mqtt');
    const life = { cleanStart: false, expirySeconds: 600, limits: LIMITS, will: undefined };
    const claimed = await queues.sessions.claim({ clientId: 'p', user: undefined, ...life });
    return new World(claimed.handle, queues);
  }

  node(): Node {
    return new Node(this.queues, this.handle);
  }

  session(name: string, ...topics: string[]): QueueId {
    this.queues.declare(`$session/${name}`, [SHARE, ...topics], { type: 'session' });
    return this.queues.queues.named(`$session/${name}`)?.queueId as QueueId;
  }

  stored(name: string): string[] {
    return this.queues
      .stored(`$session/${name}`)
      .map(({ message }) => Buffer.from(message.payload).toString());
  }

  answer(...outcomes: ('committed' | EnqueueRefusal)[]): void {
    for (const outcome of outcomes) this.queues.answer(1, outcome);
  }
}

describe('a first attempt', () => {
  test('is stored for the member that the log was told of, under the key of the publish', async () => {
    const world = await World.open();
    const queueId = world.session('s');
    const node = world.node();
    expect(node.publish('x')).toBe('waiting');
    await node.appends(1);
    expect(world.queues.sessions.chosen).toMatchObject([
      { packetId: 1, choices: [{ queueId }], isInstead: false },
    ]);
    expect(world.queues.keys).toMatchObject([{ session: world.handle.incarnation, packetId: 1 }]);
    const [stored] = world.queues.stored('$session/s');
    expect(markOf(stored?.message.properties)).toEqual({ kind: 'share', filter: SHARE });
    expect(node.told).toEqual([]);
    world.answer('committed');
    expect(node.told).toEqual([[1, 'done']]);
    expect(world.stored('s')).toEqual(['x']);
  });

  test('takes turns, delivers to clean members at once, and all come in their order', async () => {
    const world = await World.open();
    const node = world.node();
    const clean = node.join();
    node.join(world.session('s'));
    const other = node.join(undefined, 'alone');
    for (let id = 1; id <= 4; id++) node.publish(`${id}`, id);
    await node.appends(2);
    expect(clean.got).toEqual(['1', '3']);
    expect(world.stored('s')).toEqual(['2', '4']);
    expect(other.got).toEqual(['1', '2', '3', '4']);
    world.answer('committed', 'committed');
    expect(node.told.map(([tag]) => tag)).toEqual([1, 3, 2, 4]);
  });

  test('passes over a member that has it anyhow; where there is no other, that is its copy', async () => {
    const world = await World.open();
    world.session('both', 'a/b');
    world.session('s');
    const node = world.node();
    for (let id = 1; id <= 2; id++) node.publish(`${id}`, id);
    await node.appends(4);
    expect([world.stored('both'), world.stored('s')]).toEqual([
      ['1', '2'],
      ['1', '2'],
    ]);
    world.answer('committed', 'committed', 'committed', 'committed');
    world.queues.retopic('$session/s', []);
    node.publish('3', 3);
    await node.appends(1);
    expect(world.stored('both')).toEqual(['1', '2', '3']);
  });

  test('gives each share its own member, and never one queue two parts', async () => {
    const world = await World.open();
    world.session('one', '$share/h/a/b');
    world.session('two', '$share/h/a/b');
    const node = world.node();
    node.publish('x');
    await node.appends(2);
    expect([world.stored('one'), world.stored('two')]).toEqual([['x'], ['x']]);
    world.queues.retopic('$session/two', []);
    world.answer('committed', 'committed');
    node.publish('y', 2);
    await node.appends(1);
    expect(world.stored('one')).toEqual(['x', 'y']);
  });

  test('goes to another member when the one that was picked has gone meanwhile', async () => {
    const world = await World.open();
    const node = world.node();
    const clean = node.join();
    world.session('away', ASLEEP);
    node.publish('x');
    node.broker.unsubscribe(clean, 'a/+', 'g');
    await node.appends(1);
    expect(clean.got).toEqual([]);
    expect(world.stored('away')).toEqual(['x']);
    world.answer('committed');
    const [first, second] = [node.join(), node.join()];
    for (let id = 2; id <= 3; id++) node.publish(`${id}`, id);
    node.broker.unsubscribe(first, 'a/+', 'g');
    await node.tells(3);
    expect([first.got, second.got]).toEqual([[], ['2', '3']]);
  });
});

describe('a retry', () => {
  test('at another node, when others have joined, goes to the member of the first attempt', async () => {
    const world = await World.open();
    world.session('first');
    const node = world.node();
    node.publish('x');
    // Nobody hears what became of it.
    await node.appends(1);
    for (const name of ['second', 'third']) world.session(name);
    const other = world.node();
    const clean = other.join();
    const live = other.join(undefined, 'alone');
    other.publish('x');
    await other.appends(2);
    world.answer('committed', 'committed');
    await other.tells(1);
    expect(['first', 'second', 'third'].map((name) => world.stored(name).length)).toEqual([
      1, 0, 0,
    ]);
    expect([clean.got, live.got]).toEqual([[], []]);
  });

  test('of what a clean session was given is told that it is done, and goes to nobody', async () => {
    const world = await World.open();
    const node = world.node();
    const clean = node.join();
    world.session('away', ASLEEP);
    node.publish('x');
    await node.tells(1);
    const other = world.node();
    other.publish('x');
    await other.tells(1);
    expect([...node.told, ...other.told]).toEqual([
      [1, 'done'],
      [1, 'done'],
    ]);
    expect([clean.got, world.stored('away')]).toEqual([['x'], []]);
  });

  test('whose member is gone has another one, which the log is told', async () => {
    const world = await World.open();
    world.session('first');
    const node = world.node();
    await world.queues.sessions.choose(world.handle, {
      packetId: 1,
      choices: [{ share: keyOf(), queueId: 999 as QueueId }],
      isInstead: false,
    });
    node.publish('x');
    await node.appends(1);
    const queueId = world.queues.queues.named('$session/first')?.queueId;
    const told = world.queues.sessions.chosen.at(-1);
    expect(told).toMatchObject({ isInstead: true });
    expect(told?.choices).toContainEqual({ share: keyOf(), queueId });
    expect(world.stored('first')).toEqual(['x']);
    // The shard may have the key since the first attempt, with nothing for this queue; so it goes
    // without, also when it is tried once more.
    world.node().publish('x');
    await node.appends(2);
    expect(world.queues.keys).toEqual([undefined, undefined]);
    expect(world.queues.sessions.chosen.at(-1)).toMatchObject({ isInstead: false });
    expect(world.stored('first')).toEqual(['x', 'x']);
  });
});

describe('what is refused', () => {
  test.each(['queue-full', 'disk-full'] as const)(
    '%s is told behind the release of the key, and no other member gets it',
    async (refusal) => {
      const world = await World.open();
      for (const name of ['one', 'two']) world.session(name);
      const node = world.node();
      node.publish('x');
      await node.appends(1);
      world.answer(refusal);
      expect(world.queues.releases).toHaveLength(1);
      expect(node.told).toEqual([]);
      world.answer('committed');
      expect(node.told).toEqual([[1, refusal]]);
      expect(world.stored('one').length + world.stored('two').length).toBe(1);
    },
  );

  test('that the session of a member has ended: another one, told to the log before', async () => {
    const world = await World.open();
    for (const name of ['one', 'two']) world.session(name);
    const node = world.node();
    node.publish('x');
    await node.appends(1);
    const [first, second] = world.stored('one').length === 1 ? ['one', 'two'] : ['two', 'one'];
    world.answer('no-queue');
    await node.appends(1);
    expect(world.queues.sessions.chosen.at(-1)).toMatchObject({ isInstead: true });
    expect([world.stored(first), world.stored(second)]).toEqual([['x'], ['x']]);
    world.answer('committed');
    expect(node.told).toEqual([[1, 'done']]);
  });

  test('by the shard of the session: nothing is stored, and whether it may be is not known', async () => {
    const world = await World.open();
    world.session('s');
    world.queues.sessions.refusal = 'unavailable';
    const node = world.node();
    node.publish('x');
    await node.tells(1);
    expect(node.told).toEqual([[1, 'timeout']]);
    expect(world.stored('s')).toEqual([]);
  });
});

/** Of the share of these tests. */
function keyOf(): number {
  const share = new DurableShare('g', 'a/+');
  return share.key;
}
