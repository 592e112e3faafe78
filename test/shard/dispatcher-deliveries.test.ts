import { describe, expect, it } from 'vitest';
import type { GroupId, Offset } from '../../src/machine/ids.ts';
import { DispatcherWorld, QUEUE, type SeenDelivery } from './dispatcher-world.ts';

const DEFAULT = 0 as GroupId;

describe('what is never delivered', () => {
  it('Q8: a message whose expiry has passed: settled, and the credit goes on', async () => {
    const world = new DispatcherWorld();
    world.publish(1, { expirySeconds: 1 });
    world.publish(1, { expirySeconds: 60 });
    world.publish(1, { expirySeconds: 1 });
    world.publish(1);
    world.now += 1_000;
    await world.member(1, { credit: 1 });
    expect(world.delivered()).toEqual(['1:1']);
    world.dispatcher.grant(1, 1);
    await world.settle();
    expect(world.delivered()).toEqual(['1:3']);
    expect(world.log).toEqual(['complete/expired 0:0', 'complete/expired 0:2']);
    expect(world.group('default').floor).toBe(1);
  });

  it('Q8: by the time to live of the queue too, in stretches, and on a stream', async () => {
    for (const type of ['classic', 'stream'] as const) {
      const world = new DispatcherWorld({ type, limits: { ttlMs: 500, defaultGroup: 'shared' } });
      world.publish(30);
      world.publish(1, { expirySeconds: 60 });
      world.now += 499;
      world.publish(1);
      world.now += 1;
      await world.member(1);
      expect(world.delivered()).toEqual(['1:31']);
      expect(world.log.every((each) => each.includes('/expired 0:'))).toBe(true);
      expect(world.log.length).toBeLessThan(10);
      expect(world.group('default').floor).toBe(31);
    }
  });

  it('Q8: a redelivery that has expired meanwhile', async () => {
    const world = new DispatcherWorld();
    world.publish(1, { expirySeconds: 2 });
    await world.member(1);
    world.say(world.deliveries[0] as SeenDelivery, 'requeue');
    await world.settle();
    world.delivered();
    world.now += 2_000;
    await world.settle();
    expect(world.delivered()).toEqual([]);
    expect(world.log.at(-1)).toBe('complete/expired 0:0');
    expect(world.group('default').floor).toBe(1);
  });

  it('messages older than the group that its filter does not take, in stretches', async () => {
    const world = new DispatcherWorld();
    world.publish(5, { topic: '$queue/orders/us' });
    world.publish(1, { topic: '$queue/orders/eu' });
    world.publish(1, { topic: '$queue/orders/us' });
    await world.member(1, { group: 'a', filter: 'eu' });
    expect(world.delivered()).toEqual(['1:5']);
    expect(world.log).toEqual([
      'create explicit a@eu',
      'range/filtered 1:0-5',
      'complete/filtered 1:6',
    ]);
    expect(world.group('a@eu').floor).toBe(5);
  });

  it('what could not be proposed is passed over again later', async () => {
    const world = new DispatcherWorld();
    world.publish(4, { expirySeconds: 1 });
    world.now += 5_000;
    await world.member(1, { credit: 0 });
    world.takesProposals = false;
    world.dispatcher.grant(1, 4);
    world.dispatcher.serve(0, () => 1);
    expect(world.deliveries).toEqual([]);
    world.takesProposals = true;
    await world.settle();
    expect(world.group('default').floor).toBe(4);
    expect(world.deliveries).toEqual([]);
  });
});

describe('settlements', () => {
  it('Q27: only the group of the delivery is touched, and a late complete counts', async () => {
    const world = new DispatcherWorld();
    await world.member(1, { group: 'a' });
    await world.member(2, { group: 'b' });
    world.publish(1);
    await world.settle();
    const [first] = world.deliveries as [SeenDelivery];
    world.dispatcher.close(1, 'lost');
    world.say(first);
    await world.settle();
    expect([world.group('a').floor, world.group('b').floor]).toEqual([1, 0]);
  });

  it('what is being settled when the last consumer leaves is not delivered to the next', async () => {
    const world = new DispatcherWorld();
    world.publish(1);
    await world.member(1);
    world.say(world.deliveries[0] as SeenDelivery);
    world.dispatcher.close(1, 'lost');
    world.delivered();
    world.attach(2);
    for (let turn = 0; turn < 9; turn++) await Promise.resolve();
    world.serve();
    expect(world.delivered()).toEqual([]);
    await world.settle();
    expect(world.delivered()).toEqual([]);
    expect(world.log).toEqual(['complete/client 0:0']);
  });

  it('Q21: round robin is round robin', async () => {
    const world = new DispatcherWorld();
    for (const id of [1, 2, 3]) await world.member(id);
    for (let i = 0; i < 6; i++) {
      world.publish(1);
      world.serve();
    }
    expect(world.delivered()).toEqual(['1:0', '2:1', '3:2', '1:3', '2:4', '3:5']);
  });

  it('Q22: an idle consumer is not a dead one', async () => {
    const world = new DispatcherWorld();
    await world.member(1);
    world.now += 86_400_000;
    await world.settle();
    world.publish(1);
    await world.settle();
    expect(world.delivered()).toEqual(['1:0']);
    expect(world.log).toEqual([]);
  });

  it('a stream: a requeue does nothing, what times out comes again, and nothing is proposed', async () => {
    const world = new DispatcherWorld({ type: 'stream' });
    await world.member(1, { clientId: 'a' });
    world.publish(2);
    await world.settle();
    const before = world.log.length;
    world.say(world.deliveries[0] as SeenDelivery, 'requeue');
    await world.settle();
    world.delivered();
    world.now += 30_000;
    await world.settle();
    expect(world.deliveries).toMatchObject([
      { offset: 0, attempt: 1, redelivered: true },
      { offset: 1, attempt: 1, redelivered: true },
    ]);
    expect(world.log.length).toBe(before);
  });

  it('manual consumers hear of each delivery that ends, and others do not', async () => {
    const world = new DispatcherWorld();
    world.publish(4);
    await world.member(1, { manual: true, credit: 3 });
    await world.member(2, { credit: 1 });
    world.news();
    world.ask(7, 'default', { offset: 0 as Offset, deliveryNumber: 1 });
    world.ask(8, 'default', { offset: 3 as Offset, deliveryNumber: 4 });
    await world.settle();
    expect(world.news()).toEqual(['1 ended 0', '#7 done', '#8 done']);
    world.purge(DEFAULT, 1, 2);
    expect(world.news()).toEqual(['1 ended 1']);
    world.now += 30_000;
    await world.settle();
    expect(world.news()).toEqual(['1 ended 2']);
    world.dispatcher.close(1, 'returned');
    expect(world.news()).toEqual([]);
  });

  it('a single active consumer gets all, the next one when it is gone', async () => {
    const world = new DispatcherWorld({ limits: { singleActiveConsumer: true } });
    await world.member(1);
    await world.member(2);
    world.publish(2);
    await world.settle();
    world.dispatcher.close(1, 'returned');
    await world.settle();
    expect(world.delivered()).toEqual(['1:0', '1:1', '2:0', '2:1']);
  });

  it('new limits are in force at once', async () => {
    const world = new DispatcherWorld({ limits: { maxUnsettledSpan: 1 } });
    world.publish(3);
    await world.member(1);
    expect(world.delivered()).toEqual(['1:0']);
    expect(world.alarms.list()).toMatchObject([
      { kind: 'stuck', queueId: QUEUE, group: 'default', offsets: [[0, 0]] },
    ]);
    const previous = world.definition as NonNullable<typeof world.definition>;
    const definition = { ...previous, limits: { ...previous.limits, maxUnsettledSpan: 3 } };
    world.definition = definition;
    world.rare({ kind: 'queue-updated', queueId: QUEUE, definition, previous });
    await world.settle();
    expect(world.delivered()).toEqual(['1:1', '1:2']);
    expect(world.alarms.list()).toEqual([]);
  });
});

describe('damage', () => {
  it('Q24: what cannot be read is withheld with an alarm, and the rest goes on', async () => {
    const world = new DispatcherWorld();
    world.publish(5);
    for (const offset of [1, 2]) world.lost.add(offset);
    await world.member(1);
    expect(world.delivered()).toEqual(['1:0', '1:3', '1:4']);
    expect(world.logged).toHaveLength(2);
    expect(world.alarms.list()).toMatchObject([
      { kind: 'damaged', queue: 'orders', group: 'default', offsets: [[1, 2]], count: 2 },
    ]);
    expect(world.alarms.damagedOf(QUEUE)).toEqual([[1, 2]]);
    expect(world.dispatcher.activity({ queueId: QUEUE, groupId: DEFAULT })).toMatchObject({
      withheld: 2,
      delivered: 3,
    });
  });

  it('Q24: each group has its own alarm, and a purge of one ends its own', async () => {
    const world = new DispatcherWorld();
    world.publish(3);
    world.lost.add(1);
    await world.member(1);
    await world.member(2, { group: 'b' });
    expect(world.alarms.list()).toHaveLength(2);
    world.purge(DEFAULT, 0, 2);
    expect(world.alarms.list()).toMatchObject([{ group: 'b', offsets: [[1, 1]] }]);
    world.purge(world.group('b').view.groupId, 1, 2);
    expect(world.alarms.list()).toEqual([]);
  });

  it('a damaged message that holds the span is got rid of by a purge or a seek', async () => {
    for (const way of ['purge', 'seek'] as const) {
      const world = new DispatcherWorld({ limits: { maxUnsettledSpan: 2 } });
      world.publish(4);
      world.lost.add(0);
      await world.member(1);
      expect(world.delivered()).toEqual(['1:1']);
      expect(world.alarms.list().map(({ kind }) => kind)).toEqual(['damaged', 'stuck']);
      if (way === 'purge') world.purge(DEFAULT, 0, 1);
      else world.seek(DEFAULT, 2);
      await world.settle();
      expect(world.delivered()).toContain('1:2');
      expect(world.alarms.list().filter(({ kind }) => kind === 'damaged')).toEqual([]);
    }
  });

  it('payloads that are away are read first, and the order stays', async () => {
    const world = new DispatcherWorld();
    world.publish(40);
    for (let offset = 3; offset < 40; offset++) world.away.add(offset);
    await world.member(1, { credit: 100 });
    expect(world.delivered()).toEqual(Array.from({ length: 40 }, (_, offset) => `1:${offset}`));
  });

  it('Q21: an output that is closed puts deliveries back in their order and turns', async () => {
    const world = new DispatcherWorld();
    world.publish(6);
    for (const id of [1, 2, 3]) await world.member(id, { credit: 0 });
    for (const id of [1, 2, 3]) world.dispatcher.grant(id, 9);
    world.open = false;
    await world.settle();
    expect(world.delivered()).toEqual([]);
    world.open = true;
    world.room = 1;
    world.dispatcher.resume();
    await world.settle();
    expect(world.delivered()).toEqual(['1:0']);
    world.room = 99;
    world.dispatcher.resume();
    await world.settle();
    expect(world.delivered()).toEqual(['2:1', '3:2', '1:3', '2:4', '3:5']);
  });
});

describe('what a stop writes down', () => {
  it('is what each group may have delivered, also of groups that are forgotten', async () => {
    const world = new DispatcherWorld();
    world.publish(3);
    await world.member(1, { credit: 2 });
    await world.member(2, { group: 'b', credit: 3 });
    for (const delivery of world.deliveries) if (delivery.consumer === 2) world.say(delivery);
    await world.settle();
    world.dispatcher.close(2, 'returned');
    await world.settle();
    const seen = [...world.dispatcher.marks.seenBelow];
    expect(seen.sort(([a], [b]) => a.localeCompare(b))).toEqual([
      ['1/0', 2],
      ['1/1', 3],
    ]);
  });

  it('marks redeliveries in the next term, and not what a new group gets', async () => {
    const marks = { inheritedThrough: 0, seenBelow: new Map([['1/0', 2]]) };
    const world = new DispatcherWorld({ marks });
    world.publish(3);
    await world.member(1);
    expect(world.deliveries.map(({ redelivered }) => redelivered)).toEqual([true, true, false]);

    const crashed = new DispatcherWorld({ marks: { inheritedThrough: 99, seenBelow: new Map() } });
    crashed.publish(1);
    await crashed.member(1);
    await crashed.member(2, { group: 'new' });
    expect(crashed.deliveries.map(({ redelivered }) => redelivered)).toEqual([true, false]);
  });
});

describe('what operators see and do', () => {
  it('the stretches that no consumer holds, for a purge', async () => {
    const world = new DispatcherWorld();
    world.publish(10);
    await world.member(1, { credit: 6 });
    for (const at of [0, 2, 3]) world.say(world.deliveries[at] as SeenDelivery);
    await world.settle();
    const of = { queueId: QUEUE, groupId: DEFAULT };
    const all = world.dispatcher.undelivered(of, 0 as Offset, 10 as Offset);
    expect(all).toEqual([
      [0, 1],
      [2, 4],
      [6, 10],
    ]);
    expect(world.dispatcher.undelivered(of, 4 as Offset, 6 as Offset)).toEqual([]);
    expect(
      world.dispatcher.undelivered({ ...of, groupId: 9 as GroupId }, 0 as Offset, 5 as Offset),
    ).toEqual([[0, 5]]);
    expect(world.dispatcher.delivered(QUEUE)).toBe(3);
    expect(world.dispatcher.consumersOf(QUEUE)).toBe(1);
  });

  it('the store is gone: everybody hears it once', async () => {
    const world = new DispatcherWorld();
    await world.member(1);
    await world.member(2, { group: 'b' });
    world.attach(3, { group: 'c' });
    world.news();
    world.dispatcher.cancelEverything();
    const words = 'the store cannot be used any more';
    expect(world.news()).toEqual([1, 2, 3].map((id) => `${id} cancelled unavailable: ${words}`));
    await world.settle();
    expect(world.dispatcher.consumers).toBe(0);
  });
});
