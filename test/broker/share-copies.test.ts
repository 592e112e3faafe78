/**
 * Shares with members in durable sessions: who gets a message, that it is stored for one alone, and
 * what its publisher is told.
 */

import { describe, expect, test } from 'vitest';
import { MemoryBroker } from '../../src/broker/broker.ts';
import { markOf } from '../../src/broker/copy-mark.ts';
import type { Message } from '../../src/broker/message.ts';
import type {
  EnqueueRefusal,
  Match,
  Publication,
  PublishOutcome,
  QueueId,
  Subscriber,
} from '../../src/broker/ports.ts';
import { FakeQueueClient } from '../support/fake-queue-client.ts';
import type { Stored } from '../support/fake-queue.ts';
import { TestClock } from '../support/mqtt-server.ts';

const SHARE = '$share/g/a/+';
const ASLEEP = '$share/asleep';

class Member implements Subscriber {
  readonly queueId: QueueId | undefined;
  readonly got: { publication: Publication; match: Match }[] = [];
  waits = 0;
  coming = 0;

  constructor(queueId?: QueueId) {
    this.queueId = queueId;
  }

  deliver(publication: Publication, match: Match): void {
    publication.keep();
    this.got.push({ publication, match });
  }

  backlog(): number {
    return this.waits;
  }

  underWay(copies: 1 | -1): void {
    this.coming += copies;
  }
}

class World {
  readonly queues = new FakeQueueClient('mqtt');
  readonly clock = new TestClock();
  readonly broker = new MemoryBroker(this.queues, this.clock);
  readonly told: [tag: number, outcome: unknown][] = [];
  readonly #publisher = {
    origin: { clientId: 'publisher', protocol: 'mqtt' },
    subscriber: undefined,
    waiter: {
      enqueued: (tag: number, outcome: unknown): void => {
        this.told.push([tag, typeof outcome === 'string' ? outcome : 'stored']);
      },
    },
    key: undefined,
  } as const;
  #names: string[] = [];

  constructor() {
    this.queues.mode = 'manual';
  }

  /** A session that has the share, whoever has it. */
  session(name: string, ...more: string[]): QueueId {
    this.queues.declare(`$session/${name}`, [SHARE, ...more], { type: 'session' });
    this.#names.push(name);
    return this.queues.queues.named(`$session/${name}`)?.queueId as QueueId;
  }

  /** A member that is connected here. */
  join(queueId?: QueueId, qos: 0 | 1 | 2 = 1): Member {
    const member = new Member(queueId);
    const options = { qos, noLocal: false, retainAsPublished: false, identifier: 0 };
    this.broker.subscribe(member, 'a/+', { ...options, share: 'g' });
    return member;
  }

  publish(text: string, set: Partial<Message> = {}, tag: number | 'nobody' = 1): PublishOutcome {
    const payload = Buffer.from(text);
    const message = { topic: 'a/b', payload, retain: false, properties: undefined, ...set };
    const waits = tag === 'nobody' ? undefined : tag;
    const outcome = this.broker.publish({ qos: 1, ...message }, this.#publisher, waits);
    // It was a view of what the socket had read.
    payload.fill(0x2e);
    return outcome;
  }

  stored(name: string): string[] {
    return this.queues
      .stored(`$session/${name}`)
      .map(({ message }) => Buffer.from(message.payload).toString());
  }

  /** How many each has. */
  get counts(): Record<string, number> {
    return Object.fromEntries(this.#names.map((name) => [name, this.stored(name).length]));
  }

  answer(...outcomes: ('committed' | EnqueueRefusal)[]): void {
    for (const outcome of outcomes) this.queues.answer(1, outcome);
  }
}

describe('a message goes', () => {
  test('to members that are connected here, clean and durable alike, in turn', () => {
    const world = new World();
    const clean = world.join();
    const durable = world.join(world.session('here'));
    world.session('there');
    world.session('away', ASLEEP);
    for (let at = 0; at < 6; at++) world.publish(`${at}`);
    expect(clean.got).toHaveLength(3);
    expect(durable.got).toHaveLength(0);
    expect(world.counts).toEqual({ here: 3, there: 0, away: 0 });
    expect(durable.coming).toBe(3);
    world.answer('committed', 'committed', 'committed');
    expect(durable.coming).toBe(0);
    expect(world.told).toHaveLength(3);
    clean.waits = 1;
    world.publish('6');
    world.publish('7');
    expect(world.counts).toEqual({ here: 5, there: 0, away: 0 });
  });

  test('else to sessions that any node has, else to those asleep, each in turn', () => {
    const world = new World();
    for (const name of ['one', 'two']) world.session(name);
    for (const name of ['away', 'gone']) world.session(name, ASLEEP);
    for (let at = 0; at < 4; at++) expect(world.publish(`${at}`)).toBe('waiting');
    expect(world.counts).toEqual({ one: 2, two: 2, away: 0, gone: 0 });
    for (const name of ['one', 'two']) world.queues.retopic(`$session/${name}`, [SHARE, ASLEEP]);
    for (let at = 4; at < 8; at++) world.publish(`${at}`);
    const { counts } = world;
    expect(Object.values(counts).reduce((sum, each) => sum + each)).toBe(8);
    expect(counts).toEqual({ one: 3, two: 3, away: 1, gone: 1 });
  });

  test('with the mark of the share and nothing else that is not of its publisher', () => {
    const world = new World();
    world.session('s');
    world.publish('x', { qos: 2, properties: { contentType: 't', userProperties: [['a', '1']] } });
    const [stored] = world.queues.stored('$session/s');
    const { properties, ...others } = (stored as Stored).message;
    expect(markOf(properties)).toEqual({ kind: 'share', filter: SHARE });
    expect(others).toMatchObject({ topic: 'a/b', qos: 2, retain: false });
    const userProperties = [
      ['a', '1'],
      ['_flux.share', SHARE],
    ];
    expect(properties).toEqual({ contentType: 't', userProperties });
    expect(stored?.origin.clientId).toBe('publisher');
  });

  test('at QoS 0, or to who asked for that, live', () => {
    const world = new World();
    const durable = world.join(world.session('s'), 0);
    expect(world.publish('1')).toBe(0);
    expect(world.publish('0', { qos: 0 })).toBe(0);
    expect(durable.got).toHaveLength(2);
    expect(world.counts).toEqual({ s: 0 });
  });

  test('to each share that has it, and to a subscription of its own', () => {
    const world = new World();
    world.session('s', '$share/other/a/b', 'a/#');
    world.session('away', ASLEEP);
    world.publish('x', {}, 7);
    expect(world.stored('s')).toEqual(['x', 'x', 'x']);
    world.answer('committed', 'committed');
    expect(world.told).toEqual([]);
    world.answer('committed');
    expect(world.told).toEqual([[7, 'stored']]);
    expect(world.broker.counters.captured).toBe(3);
  });

  test('nowhere when it has expired', () => {
    const world = new World();
    world.session('s');
    expect(world.publish('x', { properties: { expirySeconds: 0 } })).toBe(0);
    expect(world.counts).toEqual({ s: 0 });
  });
});

describe('its publisher', () => {
  test.each(['disk-full', 'timeout', 'unavailable', 'too-large'] as const)(
    'hears %s, and no other member gets it: the first one may have it',
    (refusal) => {
      const world = new World();
      for (const name of ['one', 'two']) world.session(name);
      world.publish('x', {}, 3);
      world.answer(refusal);
      expect(world.told).toEqual([[3, refusal]]);
      expect(world.queues.unanswered).toBe(0);
    },
  );

  test('does not hear that a queue is full while another member takes it', () => {
    const world = new World();
    const names = ['one', 'two', 'away'];
    for (const name of names) world.session(name, ...(name === 'away' ? [ASLEEP] : []));
    world.publish('x', {}, 3);
    world.answer('queue-full', 'queue-full');
    expect(world.told).toEqual([]);
    world.answer('committed');
    expect(world.told).toEqual([[3, 'stored']]);
    // The fake stores what it refuses then: each was asked once, in its turn.
    for (const name of names) expect(world.stored(name)).toEqual(['x']);
  });

  test('hears it when all are full, and that none is left is no refusal', () => {
    const world = new World();
    for (const name of ['one', 'two']) world.session(name);
    world.publish('x', {}, 3);
    world.answer('queue-full', 'no-queue');
    world.publish('y', {}, 4);
    world.answer('no-queue', 'no-queue');
    expect(world.told).toEqual([
      [3, 'queue-full'],
      [4, 'stored'],
    ]);
  });

  test('a session that ended meanwhile is passed over, also for one that is clean', () => {
    const world = new World();
    const ended = world.join(world.session('one'));
    world.publish('x', {}, 3);
    const clean = world.join();
    world.broker.unsubscribe(ended, 'a/+', 'g');
    world.session('two');
    world.answer('no-queue');
    // It was the only one, and what is no view any more is gone.
    expect(world.told).toEqual([[3, 'stored']]);
    clean.waits = Number.POSITIVE_INFINITY;
    const second = world.join(world.queues.queues.named('$session/one')?.queueId);
    world.publish('y', {}, 4);
    clean.waits = 0;
    second.waits = 5;
    world.answer('no-queue');
    expect(clean.got.map(({ publication }) => textOf(publication))).toEqual(['y']);
    expect(world.told.at(-1)).toEqual([4, 'stored']);
  });

  test('is asked for no more than sixteen members', () => {
    const world = new World();
    for (let at = 0; at < 20; at++) world.session(`${at}`);
    world.publish('x', {}, 3);
    for (let at = 0; at < 15; at++) world.answer('no-queue');
    expect(world.told).toEqual([]);
    world.answer('no-queue');
    expect(world.told).toEqual([[3, 'unavailable']]);
  });

  test('waits for a capture, what is retained and the copy of each share, together', () => {
    const world = new World();
    world.session('s');
    world.session('t', 'a/b');
    world.queues.declare('archive', ['a/#']);
    expect(world.publish('x', {}, 9)).toBe('waiting');
    world.answer('committed');
    expect(world.told).toEqual([]);
    world.answer('disk-full');
    expect(world.told).toEqual([[9, 'disk-full']]);
  });

  test('that does not wait: what is not stored is counted', () => {
    const world = new World();
    world.session('s');
    world.publish('x', {}, 'nobody');
    const refused = world.broker.counters.unansweredRefused;
    world.answer('disk-full');
    expect(world.broker.counters.unansweredRefused).toBe(refused + 1);
    expect(world.told).toEqual([]);
  });
});

describe('what a clean member did not finish', () => {
  test('is stored for a durable one where no other is connected, with what is left of its life', () => {
    const world = new World();
    const clean = world.join();
    world.session('away', ASLEEP);
    world.publish('x', { properties: { expirySeconds: 100 } });
    world.publish('y', { properties: { expirySeconds: 10 } });
    const [first, second] = clean.got;
    world.broker.unsubscribe(clean, 'a/+', 'g');
    world.clock.advance(40_000);
    for (const each of [first, second]) {
      expect(each?.match.share?.pass(each.publication)).toBe(true);
    }
    expect(world.stored('away')).toEqual(['x']);
    expect(world.queues.stored('$session/away')[0]?.message.properties?.expirySeconds).toBe(60);
    world.answer('queue-full');
    expect(world.broker.lostByShares).toBe(1);
  });

  test('is told to nobody when it is stored', () => {
    const world = new World();
    const clean = world.join();
    const durable = world.join(world.session('here'));
    world.publish('x');
    const [got] = clean.got;
    world.broker.unsubscribe(clean, 'a/+', 'g');
    expect(got?.match.share?.pass(got.publication)).toBe(true);
    expect(world.stored('here')).toEqual(['x']);
    expect(durable.got).toEqual([]);
    world.answer('committed');
    expect([world.told, world.broker.lostByShares]).toEqual([[], 0]);
  });
});

function textOf({ message }: Publication): string {
  return Buffer.from(message.payload).toString();
}
