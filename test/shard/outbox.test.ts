import { describe, expect, it } from 'vitest';
import type { Message } from '../../src/broker/message.ts';
import type { Intent } from '../../src/machine/effect.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { property } from '../../src/shard/departure.ts';
import { OutboxWorld, message } from '../support/outbox-world.ts';

describe('the outbox', () => {
  it('keeps what it reads, whatever that memory is used for meanwhile', async () => {
    const world = new OutboxWorld();
    for (const number of [1, 2]) {
      world.messages.set(number, { ...message(number), payload: Buffer.from(`payload ${number}`) });
      world.open(number);
    }
    await world.drive();
    const payloads = world.transfers.map((each) => Buffer.from(each.message.payload).toString());
    expect(payloads).toEqual(['payload 1', 'payload 2']);
  });

  it('sends open intents in their order, with what tells why they left', async () => {
    const world = new OutboxWorld();
    for (const number of [1, 2, 3]) world.open(number);
    world.messages.set(2, 'away');
    await world.drive();
    expect(world.sent).toEqual([1, 2, 3]);
    expect(world.fetches).toBe(1);
    const first = world.transfers[0] ?? expect.fail('nothing was sent');
    expect(first.command.targets).toEqual([6]);
    const topics = world.transfers.map((each) => each.message.topic);
    expect(topics).toEqual([1, 2, 3].map((number) => `$queue/$dlq/orders/${number}`));
    expect(property(first.message, '_flux.dlq-group')).toBe('mail');
  });

  it('holds up nobody behind what is skipped, or waits by itself', async () => {
    const world = new OutboxWorld();
    world.messages.set(1, 'lost').set(2, 'away').set(4, 'away');
    for (const number of [1, 2, 3, 4, 5]) world.open(number);
    await world.drive();
    expect(world.skips).toEqual(['1 unreadable']);
    expect(world.sent).toEqual([2, 3, 4, 5]);
    world.refuse(2);
    world.messages.set(6, 'away');
    for (const number of [6, 7]) world.open(number);
    await world.drive();
    expect(world.sent).toEqual([2, 3, 4, 5, 6, 7]);
  });

  it('proposes nothing twice, however often it is driven and woken', async () => {
    const world = new OutboxWorld();
    world.open(1);
    await world.drive();
    world.driver.rare({ kind: 'intent-opened', intent: world.intents[0] as Intent });
    await world.drive();
    expect(world.sent).toEqual([1]);
    world.close(1);
    await world.drive();
    expect(world.sent).toEqual([1]);
    expect(world.driver.counters).toMatchObject({ transferred: 1, deadLettered: 1 });
  });

  it('Q6: tries a refused one again later and later, and holds up no other', async () => {
    const world = new OutboxWorld();
    world.open(1);
    await world.drive();
    const waits: number[] = [];
    for (let time = 0; time < 9; time++) {
      world.refuse(1);
      const due = world.driver.nextWake;
      waits.push(due - world.now);
      world.now = due - 1;
      await world.drive();
      expect(world.sent).toHaveLength(time + 1);
      world.now = due;
      await world.drive();
      expect(world.sent).toHaveLength(time + 2);
    }
    expect(waits.map((ms) => ms / 1000)).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
    world.refuse(1);
    world.open(2);
    await world.drive();
    expect(world.sent.at(-1)).toBe(2);
  });

  it('has a bounded number under way, and goes on as they are done', async () => {
    const world = new OutboxWorld();
    for (let number = 1; number <= 200; number++) world.open(number);
    await world.drive();
    expect(world.sent).toHaveLength(64);
    for (const done of world.sent.slice(0, 10)) world.close(done);
    await world.drive();
    expect(world.sent).toHaveLength(74);
    while (world.intents.length > 0) {
      for (const done of world.sent)
        if (world.intents.some((each) => each.number === done)) world.close(done);
      await world.drive();
    }
    expect(world.sent.toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 200 }, (_none, at) => at + 1),
    );
  });

  it('declares a dead-letter queue that is missing, once for all that wait for it', async () => {
    const world = new OutboxWorld();
    world.queues.delete(6);
    world.refuseDeclarations = true;
    world.open(1);
    await world.drive();
    expect(world.sent).toEqual([]);
    expect(world.told[0]).toContain('no more queues');
    world.refuseDeclarations = false;
    world.now = world.driver.nextWake;
    await world.drive();
    expect(world.declared).toEqual(['$dlq/orders']);
    expect(world.sent).toEqual([1]);
  });

  it('skips what cannot be read, with an alarm, and what goes in circles', async () => {
    const world = new OutboxWorld();
    world.messages.set(1, 'lost');
    world.open(1);
    const hops = { userProperties: [['_flux.hops', '16']] as const };
    world.messages.set(2, { ...message(2), properties: hops });
    world.open(2);
    world.open(3, { target: { kind: 'queues', queueIds: [77 as QueueId] } });
    world.open(4);
    await world.drive();
    expect(world.skips.toSorted()).toEqual(['1 unreadable', '2 hop-limit', '3 no-target']);
    expect(world.told).toHaveLength(3);
    expect(world.sent).toEqual([4]);
  });

  it('sends a dead letter back to where it came from, and to where it is if that is gone', async () => {
    const world = new OutboxWorld();
    const from = (name: string): Message => ({
      ...message(1),
      properties: { userProperties: [['_flux.dlq-queue', name]] },
    });
    world.messages.set(1, from('orders'));
    world.messages.set(2, from('deleted'));
    const back = { reason: 'moved', queueId: 6 as QueueId, target: { kind: 'source' } } as const;
    world.open(1, back);
    world.open(2, back);
    await world.drive();
    expect(world.transfers.map(({ command }) => [command.intent, command.targets])).toEqual([
      [1, [5]],
      [2, [6]],
    ]);
  });

  it('D10: takes no space while the disk is inside its reserve', async () => {
    const world = new OutboxWorld();
    world.inReserve = true;
    world.open(1);
    await world.drive();
    expect(world.sent).toEqual([]);
    world.inReserve = false;
    world.now = world.driver.nextWake;
    await world.drive();
    expect(world.sent).toEqual([1]);
  });

  it.each(['the disk is inside its reserve', 'their queue is full'])(
    'Q6, D10: many that are put off since %s come in their order when they are tried again',
    async (why) => {
      const world = new OutboxWorld();
      const numbers = Array.from({ length: 60 }, (_none, at) => at + 1);
      world.fetchTurns = 3;
      for (const number of numbers) {
        if (number % 3 === 1) world.messages.set(number, 'away');
        world.open(number);
      }
      world.inReserve = why.includes('disk');
      await world.drive();
      expect(world.sent).toEqual(world.inReserve ? [] : numbers);
      for (const number of world.sent.splice(0)) world.refuse(number);
      world.transfers.length = 0;
      world.inReserve = false;
      world.now += 1_000;
      await world.drive();
      expect(world.sent).toEqual(numbers);
    },
  );
});
