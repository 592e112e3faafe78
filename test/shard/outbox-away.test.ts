/** What leaves for a queue of another shard, and what happens while that shard is not there. */

import { describe, expect, it } from 'vitest';
import type { Intent } from '../../src/machine/effect.ts';
import { type QueueId, firstQueueIdOf } from '../../src/machine/ids.ts';
import { OutboxWorld, WorldOfOthers, message } from '../support/outbox-world.ts';

const LETTERS = firstQueueIdOf(1) as QueueId;
const ELSEWHERE = firstQueueIdOf(2) as QueueId;
const toLetters = { target: { kind: 'name', name: 'letters' } } as const;
const there = (queueId: QueueId) => ({ kind: 'there', queueId }) as const;
const moved = (queueId: QueueId): Partial<Intent> => ({
  reason: 'moved',
  target: { kind: 'queues', queueIds: [queueId] },
});

function rig(): { world: OutboxWorld; others: WorldOfOthers } {
  const others = new WorldOfOthers();
  others.found.set('letters', there(LETTERS));
  others.names.set(LETTERS, 'letters').set(ELSEWHERE, 'elsewhere');
  return { world: new OutboxWorld(others), others };
}

describe('a message for a queue of another shard', () => {
  it('is sent under the number of its route, and closed when that shard has it', async () => {
    const { world, others } = rig();
    world.open(1, toLetters);
    world.open(2, { ...moved(ELSEWHERE), stamp: 7 as Intent['stamp'] });
    await world.drive();
    expect(others.asked).toEqual(['declare letters near orders']);
    const sent = others.taking.map(({ shard, command, message: { topic } }) => {
      const { from, number, opened, lowestOpen, targets } = command;
      return { shard, from, number, opened, lowestOpen, targets, topic };
    });
    expect(sent).toEqual([
      {
        shard: 2,
        from: 0,
        number: 1,
        opened: 7,
        lowestOpen: 1,
        targets: [ELSEWHERE],
        topic: '$queue/elsewhere/2',
      },
      {
        shard: 1,
        from: 0,
        number: 2,
        opened: 1,
        lowestOpen: 1,
        targets: [LETTERS],
        topic: '$queue/letters/1',
      },
    ]);
    for (const number of [1, 2]) others.say(number, 'taken');
    await world.drive();
    expect(world.routes).toEqual(['2 1 taken', '1 2 taken']);
    expect(world.intents).toEqual([]);
    expect(world.driver.counters).toMatchObject({ transferred: 2, deadLettered: 1 });
  });

  it('goes in the order of the intents, whatever is read first', async () => {
    const { world, others } = rig();
    world.messages.set(1, 'away').set(3, 'away');
    for (let number = 1; number <= 5; number++) world.open(number, moved(ELSEWHERE));
    await world.drive();
    const topics = others.taking.map(({ message: { topic } }) => topic);
    expect(topics).toEqual([1, 2, 3, 4, 5].map((number) => `$queue/elsewhere/${number}`));
  });

  it('Q6: that is full is tried later, with another number, and wherever its name is by then', async () => {
    const { world, others } = rig();
    world.open(1, toLetters);
    await world.drive();
    others.say(1, 'refused');
    await world.drive();
    others.found.set('letters', there(ELSEWHERE));
    expect(world.driver.nextWake).toBe(world.now + 1_000);
    world.now += 1_000;
    await world.drive();
    expect(others.taking.map(({ shard, command }) => [shard, command.number])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    others.say(2, 'refused');
    await world.drive();
    expect(world.driver.nextWake).toBe(world.now + 2_000);
  });

  it('keeps its number and its target while nobody says what became of it', async () => {
    const { world, others } = rig();
    world.open(1, toLetters);
    await world.drive();
    others.say(1, 'not-now');
    others.found.set('letters', there(ELSEWHERE));
    await world.drive();
    expect(world.routes).toEqual([]);
    world.now = world.driver.nextWake;
    await world.drive();
    // So does the next leader, which asks for no name.
    others.say(1, 'not-now');
    await world.drive();
    const asked = others.asked.length;
    world.change();
    await world.drive();
    expect(others.asked).toHaveLength(asked);
    expect(others.taking.map(({ shard, command }) => [shard, command.number])).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
  });

  it('that is gone is looked for by its name again; a move to it is given up', async () => {
    const { world, others } = rig();
    world.open(1, toLetters);
    world.open(2, moved(LETTERS));
    await world.drive();
    for (const { command } of others.taking) others.say(command.number, 'gone');
    await world.drive();
    expect(world.skips).toEqual(['2 no-target']);
    world.now = world.driver.nextWake;
    await world.drive();
    expect(others.asked).toHaveLength(2);
  });

  it('takes no space here, and goes while the disk is inside its reserve', async () => {
    const { world, others } = rig();
    world.inReserve = true;
    world.open(1, moved(LETTERS));
    world.open(2, toLetters);
    await world.drive();
    expect(others.taking).toHaveLength(1);
    expect(others.asked).toEqual([]);
  });

  it('that cannot be read or written is skipped, also when it has a route', async () => {
    const { world, others } = rig();
    world.messages.set(1, 'lost');
    world.open(1, { ...moved(LETTERS), route: { queueId: LETTERS, number: 1 } });
    world.messages.set(2, {
      ...message(2),
      properties: { userProperties: [['_flux.hops', '16']] },
    });
    world.open(2, toLetters);
    await world.drive();
    expect(world.skips).toEqual(['1 unreadable', '2 hop-limit']);
    expect(others.taking).toEqual([]);
  });
});

describe('a shard that is not reached', () => {
  it('holds up nothing that goes elsewhere, and has a bounded number under way', async () => {
    const { world, others } = rig();
    for (let number = 1; number <= 200; number++) world.open(number, moved(LETTERS));
    world.open(201);
    world.open(202, moved(ELSEWHERE));
    await world.drive();
    expect(world.sent).toEqual([201]);
    expect(others.taking.filter(({ shard }) => shard === 2)).toHaveLength(1);
    expect(others.taking.filter(({ shard }) => shard === 1)).toHaveLength(64);
    // The others wait in line, and go as soon as there is room.
    for (let done = 0; done < 4; done++) {
      for (const { shard, answer } of others.taking) {
        if (shard === 1) answer({ kind: 'taken', next: 1 });
      }
      await world.drive();
    }
    expect(world.intents.map(({ number }) => number)).toEqual([201, 202]);
  });

  it('is told of once in a while, not for each message', async () => {
    const { world, others } = rig();
    for (let number = 1; number <= 50; number++) world.open(number, moved(LETTERS));
    await world.drive();
    for (const { command } of others.taking) others.say(command.number, 'not-now');
    await world.drive();
    expect(world.told).toEqual(['1 put-off: shard 1 does not take it: nobody is there']);
    world.now += 10_000;
    await world.drive();
    for (const { command } of others.taking) others.say(command.number, 'not-now');
    await world.drive();
    expect(world.told).toHaveLength(2);
  });
});

describe('names that nobody says the shard of', () => {
  it('hold up nothing whose queue is known', async () => {
    const { world, others } = rig();
    others.isSilent = true;
    for (let number = 1; number <= 200; number++) world.open(number, toLetters);
    world.open(201);
    await world.drive();
    expect(world.sent).toEqual([201]);
  });

  it('are declared here where shard 0 says so', async () => {
    const { world, others } = rig();
    others.found.set('letters', { kind: 'here', placed: 3 });
    world.open(1, toLetters);
    await world.drive();
    expect(world.declared).toEqual(['letters']);
    expect(world.sent).toEqual([1]);
  });
});

describe('a dead letter that goes back', () => {
  const back = { reason: 'moved', queueId: 6 as QueueId, target: { kind: 'source' } } as const;

  it('goes to the shard of its source, and stays where it is when that is gone', async () => {
    const { world, others } = rig();
    for (const [number, name] of [
      [1, 'letters'],
      [2, 'nowhere'],
    ] as const) {
      world.messages.set(number, {
        ...message(number),
        properties: {
          userProperties: [
            ['_flux.dlq-queue', name],
            ['_flux.source-topic', 'sensors/1'],
          ],
        },
      });
      world.open(number, back);
    }
    await world.drive();
    expect(others.taking.map(({ message: { topic } }) => topic)).toEqual(['sensors/1']);
    expect(world.transfers.map(({ command }) => command.targets)).toEqual([[6]]);
  });
});
