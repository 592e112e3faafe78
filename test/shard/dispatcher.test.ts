import { describe, expect, it } from 'vitest';
import type { GroupId } from '../../src/machine/ids.ts';
import { DispatcherWorld, QUEUE, type SeenDelivery } from './dispatcher-world.ts';

describe('becoming a member', () => {
  it('the default group of a queue is there, and costs no command', async () => {
    const world = new DispatcherWorld();
    world.publish(2);
    await world.member(1);
    expect(world.news()).toEqual(['1 attached default']);
    expect(world.delivered()).toEqual(['1:0', '1:1']);
    expect(world.log).toEqual([]);
  });

  it('a group that is named is made when it is missing, explicit, and not made twice', async () => {
    const world = new DispatcherWorld();
    world.publish(2);
    world.attach(1, { group: 'audit' });
    world.attach(2, { group: 'audit' });
    await world.settle();
    await world.member(3, { group: 'audit' });
    expect(world.log).toEqual(['create explicit audit']);
    expect(world.news()).toEqual(['1 attached audit', '2 attached audit', '3 attached audit']);
    expect(world.delivered()).toEqual(['1:0', '2:1']);
  });

  it('Q10: each of two groups gets all, each its own way', async () => {
    const world = new DispatcherWorld();
    await world.member(1, { group: 'a' });
    await world.member(2, { group: 'b' });
    world.publish(3);
    await world.settle();
    expect(world.delivered().sort()).toEqual(['1:0', '1:1', '1:2', '2:0', '2:1', '2:2']);
  });

  it('Q10: one name with two filters is two groups', async () => {
    const world = new DispatcherWorld();
    world.publish(1, { topic: '$queue/orders/eu' });
    world.publish(1, { topic: '$queue/orders/us' });
    await world.member(1, { group: 'a', filter: 'eu' });
    await world.member(2, { group: 'a', filter: 'us' });
    expect(world.news()).toEqual(['1 attached a@eu', '2 attached a@us']);
    expect(world.delivered()).toEqual(['1:0', '2:1']);
  });

  it('a group named like another one with its filter is refused with words', async () => {
    const world = new DispatcherWorld();
    await world.member(1, { group: 'a', filter: 'eu' });
    await world.member(2, { group: 'a@eu' });
    expect(world.news()).toEqual([
      '1 attached a@eu',
      '2 cancelled refused: the group a@eu has the filter eu',
    ]);
    world.addGroup('b@us', '');
    await world.member(3, { group: 'b', filter: 'us' });
    expect(world.news()).toEqual(['3 cancelled refused: the group b@us has no filter']);
  });

  it('without a name: by client id up to the first dash, automatic, and told when it is idle', async () => {
    const world = new DispatcherWorld({ limits: { defaultGroup: 'client' } });
    await world.member(1, { clientId: 'billing-1' });
    await world.member(2, { clientId: 'billing-2' });
    world.dispatcher.close(1, 'returned');
    world.dispatcher.close(2, 'returned');
    await world.settle();
    await world.member(3, { clientId: 'billing-7' });
    expect(world.log).toEqual(['create automatic billing', 'idle 1', 'busy 1']);
    expect(world.news()).toEqual([1, 2, 3].map((id) => `${id} attached billing`));
  });

  it('with neither name nor client id: a group of its own that ends with it', async () => {
    const world = new DispatcherWorld({ type: 'stream' });
    await world.member(1, { clientId: '' });
    await world.member(2, { clientId: '' });
    world.publish(1);
    await world.settle();
    expect(world.delivered().sort()).toEqual(['1:0', '2:0']);
    world.dispatcher.close(1, 'lost');
    await world.settle();
    expect(world.log).toEqual(['create automatic ~7.1', 'create automatic ~7.2', 'delete 1']);
    expect(world.groups.size).toBe(1);
  });

  it('a refusal of the machine reaches who asked, and the name can be tried again', async () => {
    const world = new DispatcherWorld();
    const group = 'x'.repeat(300);
    await world.member(1, { group });
    await world.member(2, { group });
    expect(world.news()).toEqual([
      '1 cancelled refused: too long',
      '2 cancelled refused: too long',
    ]);
    expect(world.dispatcher.consumers).toBe(0);
  });

  it('a queue that is not there, or goes at any moment of it, is told', async () => {
    const world = new DispatcherWorld();
    world.definition = undefined;
    world.attach(1);
    expect(world.news()).toEqual(['1 cancelled queue-deleted: the queue does not exist']);
    for (const steps of [0, 1, 2, 3, 4, 5, 6]) {
      const other = new DispatcherWorld();
      other.attach(1, { group: 'a' });
      for (let step = 0; step < steps; step++) {
        await Promise.resolve();
        if (step % 2 === 1) other.applyNext();
      }
      other.deleteQueue();
      await other.settle();
      expect(other.news().at(-1)).toBe('1 cancelled queue-deleted: the queue orders was deleted');
      expect(other.dispatcher.consumers).toBe(0);
      other.publish(1);
      await other.settle();
      expect(other.deliveries).toEqual([]);
    }
  });

  it('a group that is deleted cancels its members, and a later one with its name is new', async () => {
    const world = new DispatcherWorld();
    await world.member(1, { group: 'a' });
    world.deleteGroup(world.group('a').view.groupId);
    world.publish(1);
    await world.member(2, { group: 'a' });
    expect(world.news()).toEqual([
      '1 attached a',
      '1 cancelled group-deleted: the group a was deleted',
      '2 attached a',
    ]);
    expect(world.delivered()).toEqual(['2:0']);
  });

  it('a consumer that closes before it is a member leaves nothing behind', async () => {
    const world = new DispatcherWorld({ limits: { defaultGroup: 'client' } });
    world.attach(1, { clientId: 'a' });
    world.dispatcher.close(1, 'lost');
    await world.settle();
    expect(world.log).toEqual([]);
    world.attach(2, { clientId: 'b' });
    await Promise.resolve();
    await Promise.resolve();
    expect(world.log).toEqual(['create automatic b']);
    world.dispatcher.close(2, 'lost');
    await world.settle();
    expect(world.log).toEqual(['create automatic b', 'idle 1']);
    expect(world.news()).toEqual([]);
  });

  it('Q29: a group that is asked about answers whether it has members', async () => {
    const world = new DispatcherWorld({ limits: { defaultGroup: 'client' } });
    await world.member(1, { clientId: 'a' });
    const { groupId } = world.group('a').view;
    const check = { kind: 'group-check', queueId: QUEUE, groupId } as const;
    world.rare(check);
    world.dispatcher.close(1, 'lost');
    world.rare(check);
    world.rare({ ...check, groupId: 99 as GroupId });
    expect(world.log.slice(1)).toEqual(['busy 1', 'idle 1', 'idle 1', 'idle 99']);
  });

  it('credit that comes before the group is there counts', async () => {
    const world = new DispatcherWorld();
    world.publish(5);
    world.attach(1, { credit: 1 });
    world.dispatcher.grant(1, 2);
    await world.settle();
    expect(world.delivered()).toEqual(['1:0', '1:1', '1:2']);
  });
});

describe('where a consumer begins', () => {
  it('a new group begins where its first consumer says', async () => {
    const world = new DispatcherWorld({ type: 'stream' });
    world.publish(5);
    await world.member(1, { clientId: 'a', start: { kind: 'offset', offset: 3 } });
    expect(world.delivered()).toEqual(['1:3', '1:4']);
    expect(world.log).toEqual(['create automatic a']);
  });

  it('Q9: a time is exact: the first message from it on, and all behind that', async () => {
    const world = new DispatcherWorld({ type: 'stream' });
    const began = world.now;
    for (const after of [0, 10, 20, 30, 15, 40]) {
      world.now = began + after;
      world.publish(1);
    }
    const start = { kind: 'time', ms: began + 20 } as const;
    await world.member(1, { clientId: 'a', start });
    expect(world.delivered()).toEqual(['1:2', '1:3', '1:4', '1:5']);
    expect(world.log).toEqual(['create automatic a', 'range/filtered 1:0-2']);
    world.dispatcher.close(1, 'returned');
    await world.settle();
    await world.member(2, { clientId: 'a', start: { ...start, ms: began + 11 } });
    expect(world.delivered()).toEqual(['2:2', '2:3', '2:4', '2:5']);
    world.dispatcher.close(2, 'returned');
    await world.settle();
    await world.member(3, { clientId: 'a', start: { ...start, ms: began + 1_000 } });
    world.now = began + 1_000;
    world.publish(1);
    world.seek(world.group('a').view.groupId, 5);
    await world.settle();
    expect(world.delivered()).toEqual(['3:5', '3:6']);
  });

  it('Q9: a group without members is moved, and goes on from there', async () => {
    const world = new DispatcherWorld({ type: 'stream' });
    world.publish(4);
    await world.member(1, { clientId: 'a' });
    for (const delivery of world.deliveries) world.say(delivery);
    world.dispatcher.close(1, 'returned');
    await world.settle();
    world.delivered();
    await world.member(2, { clientId: 'a', start: { kind: 'offset', offset: 1 } });
    expect(world.log.slice(-2)).toEqual(['busy 1', 'seek 1']);
    expect(world.delivered()).toEqual(['2:1', '2:2', '2:3']);
    expect(world.news()).toEqual(['1 attached a', '2 attached a']);
  });

  it('with other members the place is refused, and they hear nothing of it', async () => {
    const world = new DispatcherWorld({ type: 'stream' });
    await world.member(1, { clientId: 'a' });
    await world.member(2, { clientId: 'a', start: { kind: 'first' } });
    expect(world.news()).toEqual([
      '1 attached a',
      '2 cancelled refused: the group a has other members: where it stands cannot be changed',
    ]);
    expect(world.log).toEqual(['create automatic a']);
  });

  it('a classic queue has no way back: refused, and who comes next is served', async () => {
    const world = new DispatcherWorld();
    world.publish(3);
    await world.member(1);
    for (const delivery of world.deliveries) world.say(delivery);
    world.dispatcher.close(1, 'returned');
    await world.settle();
    await world.member(2, { start: { kind: 'offset', offset: 0 } });
    expect(world.news().at(-1)).toBe('2 cancelled refused: a classic queue has no way back');
    world.delivered();
    await world.member(3);
    world.publish(1);
    await world.settle();
    expect(world.delivered()).toEqual(['3:3']);
  });

  it('a refusal hits who asked to begin elsewhere, not who came meanwhile', async () => {
    const world = new DispatcherWorld();
    world.publish(2);
    await world.member(1, { credit: 2 });
    world.say(world.deliveries[0] as SeenDelivery);
    await world.settle();
    world.dispatcher.close(1, 'returned');
    world.attach(2, { start: { kind: 'offset', offset: 0 } });
    world.dispatcher.close(2, 'returned');
    world.attach(3);
    world.news();
    world.delivered();
    await world.settle();
    expect(world.news()).toEqual(['3 attached default']);
    expect(world.delivered()).toEqual(['3:1']);
  });

  it('a group that is moved delivers anew; credit stays, and numbers are never used again', async () => {
    const world = new DispatcherWorld({ type: 'stream' });
    world.publish(6);
    await world.member(1, { clientId: 'a', credit: 4 });
    const before = world.deliveries;
    expect(world.delivered()).toEqual(['1:0', '1:1', '1:2', '1:3']);
    world.seek(world.group('a').view.groupId, 2);
    await world.settle();
    expect(world.delivered()).toEqual([]);
    world.dispatcher.grant(1, 3);
    await world.settle();
    const after = world.deliveries;
    expect(world.delivered()).toEqual(['1:2', '1:3', '1:4']);
    const numbers = [...before, ...after].map(({ deliveryNumber }) => deliveryNumber);
    expect(new Set(numbers).size).toBe(numbers.length);
    world.say(before[2] as SeenDelivery, 'discard');
    expect(world.proposals).toEqual([]);
    world.say(before[2] as SeenDelivery, 'complete');
    expect(world.log.at(-1)).toBe('complete/client 1:2');
  });

  it('of two who ask one after the other the second is not served before its own answer', async () => {
    const world = new DispatcherWorld();
    world.publish(4);
    await world.member(1, { credit: 2 });
    world.say(world.deliveries[0] as SeenDelivery);
    await world.settle();
    world.dispatcher.close(1, 'returned');
    world.attach(2, { start: { kind: 'offset', offset: 0 } });
    world.dispatcher.close(2, 'returned');
    world.attach(3, { start: { kind: 'offset', offset: 3 } });
    world.delivered();
    world.applyNext();
    world.serve();
    expect(world.delivered()).toEqual([]);
    await world.settle();
    expect(world.delivered()).toEqual(['3:3']);
  });

  it('a group that is moved while it starts begins once, from the last place', async () => {
    const world = new DispatcherWorld({ type: 'stream' });
    world.publish(5);
    const { groupId } = world.group(world.addGroup('a') === 1 ? 'a' : '').view;
    world.held = [];
    world.attach(1, { group: 'a' });
    const answer = async (): Promise<void> => {
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
      for (const go of world.held?.splice(0) ?? []) go();
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    };
    await answer();
    world.seek(groupId, 2);
    world.seek(groupId, 3);
    await answer();
    world.held = undefined;
    await world.settle();
    expect(world.delivered()).toEqual(['1:3', '1:4']);
    expect(world.news()).toEqual(['1 attached a']);
  });

  it('numbers are not used again either when the group was forgotten between', async () => {
    const world = new DispatcherWorld({ type: 'stream' });
    world.publish(2);
    await world.member(1, { clientId: 'a' });
    const before = world.deliveries;
    for (const delivery of before) world.say(delivery);
    await world.settle();
    world.dispatcher.close(1, 'returned');
    await world.settle();
    expect(world.dispatcher.activity({ queueId: QUEUE, groupId: 1 as GroupId })).toBeUndefined();
    world.delivered();
    await world.member(2, { clientId: 'a', start: { kind: 'offset', offset: 0 } });
    const numbers = world.deliveries.map(({ deliveryNumber }) => deliveryNumber);
    expect(numbers).toEqual([3, 4]);
    expect(world.deliveries.map(({ redelivered }) => redelivered)).toEqual([true, true]);
  });
});
