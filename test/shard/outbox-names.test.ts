/** Queues that an outbox has by their names alone, while others find them or they are declared. */

import { describe, expect, it } from 'vitest';
import type { Intent } from '../../src/machine/effect.ts';
import { type QueueId, firstQueueIdOf } from '../../src/machine/ids.ts';
import { OutboxWorld, WorldOfOthers, message } from '../support/outbox-world.ts';
import { fc } from '../support/properties.ts';
import { queue, turn } from '../support/shard-world.ts';

const LETTERS = firstQueueIdOf(1) as QueueId;
const MANY = 40;
const numbers = (last: number): number[] => Array.from({ length: last }, (_none, at) => at + 1);

/** Opens an intent each turn, so that those come at each moment of what happens to the first. */
async function openOneByOne(world: OutboxWorld, more: Partial<Intent> = {}): Promise<void> {
  for (const number of numbers(MANY)) {
    world.open(number, more);
    world.driver.drive();
    await turn();
  }
  await world.drive();
}

describe.each(['read at once', 'read slowly', 'read now slowly, now at once'])(
  'letters that are %s',
  (how) => {
    function worldOf(others?: WorldOfOthers): OutboxWorld {
      const world = new OutboxWorld(others);
      world.fetchTurns = 5;
      for (const number of numbers(MANY)) {
        const isSlow = how === 'read slowly' || (how !== 'read at once' && number % 3 !== 0);
        world.messages.set(number, isSlow ? 'away' : message(number));
      }
      return world;
    }

    it('come in their order into a queue that is declared for the first of them', async () => {
      const others = new WorldOfOthers();
      others.found.set('$dlq/orders', { kind: 'here', placed: undefined });
      const world = worldOf(others);
      world.queues.delete(6);
      await openOneByOne(world);
      expect(world.declared).toEqual(['$dlq/orders']);
      expect(world.sent).toEqual(numbers(MANY));
    });

    it('do so where there are no other shards', async () => {
      const world = worldOf();
      world.queues.delete(6);
      await openOneByOne(world);
      expect(world.declared).toEqual(['$dlq/orders']);
      expect(world.sent).toEqual(numbers(MANY));
    });

    it('come in their order into a queue that another shard has', async () => {
      const others = new WorldOfOthers();
      others.found.set('letters', { kind: 'there', queueId: LETTERS });
      others.names.set(LETTERS, 'letters');
      const world = worldOf(others);
      await openOneByOne(world, { target: { kind: 'name', name: 'letters' } });
      const topics = others.taking.map((each) => each.message.topic);
      expect(topics).toEqual(numbers(MANY).map((number) => `$queue/letters/${number}`));
    });

    it('go back in their order to a source that is made meanwhile', async () => {
      const others = new WorldOfOthers();
      const world = worldOf(others);
      world.queues.delete(5);
      world.fetched = (number) => ({
        ...message(number),
        properties: { userProperties: [['_flux.dlq-queue', 'orders']] },
      });
      for (const [number, given] of world.messages) {
        if (given !== 'away') world.messages.set(number, world.fetched(number));
      }
      others.asksTurns = 6;
      const back = { reason: 'moved', queueId: 6 as QueueId, target: { kind: 'source' } } as const;
      const going = openOneByOne(world, back);
      for (let turns = 0; turns < 10; turns++) await turn();
      world.queues.set(5, queue('orders'));
      await going;
      const toSource = world.transfers.filter(({ command }) => command.targets[0] === 5);
      const order = toSource.map(({ command }) => command.intent);
      expect(order).toEqual(order.toSorted((a, b) => a - b));
      expect(order.length).toBeGreaterThan(20);
      expect(world.sent.toSorted((a, b) => a - b)).toEqual(numbers(MANY));
    });
  },
);

const NAMES = ['here', 'made', 'there'] as const;
const schedules = fc.record({
  asksTurns: fc.integer({ min: 0, max: 6 }),
  fetchTurns: fc.integer({ min: 1, max: 6 }),
  letters: fc.array(
    fc.record({
      name: fc.constantFrom(...NAMES),
      isAway: fc.boolean(),
      turnsBefore: fc.integer({ min: 0, max: 3 }),
      /** So many of those that were sent are answered then. */
      answers: fc.integer({ min: 0, max: 20 }),
    }),
    { minLength: 1, maxLength: 150 },
  ),
});

it('whatever comes when, each letter is sent once, and those of one name in their order', async () => {
  await fc.assert(
    fc.asyncProperty(schedules, async ({ asksTurns, fetchTurns, letters }) => {
      const others = new WorldOfOthers();
      others.asksTurns = asksTurns;
      others.found.set('there', { kind: 'there', queueId: LETTERS });
      others.found.set('made', { kind: 'here', placed: undefined });
      others.names.set(LETTERS, 'there');
      const world = new OutboxWorld(others);
      world.fetchTurns = fetchTurns;
      world.queues.set(6, queue('here'));
      let closed = 0;
      let taken = 0;
      const answer = (count: number): void => {
        for (let left = count; left > 0; left--) {
          const letter = world.sent[closed];
          if (letter !== undefined) world.close(letter);
          if (letter !== undefined) closed++;
          others.taking[taken]?.answer({ kind: 'taken', next: 1 });
          if (taken < others.taking.length) taken++;
        }
      };
      for (const [at, { name, isAway, turnsBefore, answers }] of letters.entries()) {
        for (let turns = 0; turns < turnsBefore; turns++) {
          world.driver.drive();
          await turn();
        }
        if (isAway) world.messages.set(at + 1, 'away');
        world.open(at + 1, { target: { kind: 'name', name } });
        answer(answers);
      }
      while (world.intents.length > 0) {
        answer(1_000);
        await world.drive();
      }
      const sent = new Map<string, number[]>(NAMES.map((name) => [name, []]));
      for (const number of world.sent) sent.get(letters[number - 1]?.name ?? '')?.push(number);
      for (const { message: each } of others.taking) {
        sent.get('there')?.push(Number(each.topic.split('/').at(-1)));
      }
      for (const name of NAMES) {
        const all = letters.flatMap((letter, at) => (letter.name === name ? [at + 1] : []));
        expect(sent.get(name), name).toEqual(all);
      }
    }),
    { numRuns: 150 },
  );
});

describe('a name that many want', () => {
  it('is asked for once, and again for those that come later', async () => {
    const others = new WorldOfOthers();
    others.found.set('letters', { kind: 'there', queueId: LETTERS });
    const world = new OutboxWorld(others);
    for (const number of numbers(30)) {
      world.open(number, { target: { kind: 'name', name: 'letters' } });
    }
    await world.drive();
    expect(others.asked).toEqual(['declare letters near orders']);
    expect(others.taking).toHaveLength(30);
    world.open(31, { target: { kind: 'name', name: 'letters' } });
    await world.drive();
    expect(others.asked).toHaveLength(2);
    expect(others.taking).toHaveLength(31);
  });

  it('puts all of them off when it is not found, each by itself', async () => {
    const others = new WorldOfOthers();
    others.found.set('letters', { kind: 'not-now', detail: 'nobody is there' });
    const world = new OutboxWorld(others);
    for (const number of numbers(3)) {
      world.open(number, { target: { kind: 'name', name: 'letters' } });
    }
    await world.drive();
    expect(world.driver.counters.refused).toBe(3);
    expect(world.told).toEqual(['1 put-off: the queue letters is not found: nobody is there']);
    others.found.set('letters', { kind: 'there', queueId: LETTERS });
    world.now = world.driver.nextWake;
    await world.drive();
    expect(others.taking).toHaveLength(3);
  });

  it('holds up nobody who wants another one', async () => {
    const others = new WorldOfOthers();
    others.silentNames.add('letters');
    others.found.set('others', { kind: 'there', queueId: LETTERS });
    const world = new OutboxWorld(others);
    for (const number of numbers(20)) {
      world.open(number, { target: { kind: 'name', name: 'letters' } });
    }
    world.open(21, { target: { kind: 'name', name: 'others' } });
    world.open(22);
    await world.drive();
    expect(others.taking).toHaveLength(1);
    expect(world.sent).toEqual([22]);
  });

  it('asks for nobody whose intent was closed meanwhile', async () => {
    const others = new WorldOfOthers();
    others.found.set('letters', { kind: 'there', queueId: LETTERS });
    others.asksTurns = 3;
    const world = new OutboxWorld(others);
    for (const number of numbers(3)) {
      world.open(number, { target: { kind: 'name', name: 'letters' } });
    }
    for (let turns = 0; turns < 2; turns++) {
      world.driver.drive();
      await turn();
    }
    expect(others.asked).toHaveLength(1);
    world.close(1);
    world.close(2);
    await world.drive();
    expect(others.taking.map((each) => each.message.topic)).toEqual([`$queue/#${LETTERS}/3`]);
  });
});
