import { describe, expect, it } from 'vitest';
import type { GroupId, Offset } from '../../src/machine/ids.ts';
import { DispatcherWorld, QUEUE, TERM } from './dispatcher-world.ts';

const DEFAULT = 0 as GroupId;
const at = (offset: number, deliveryNumber = offset + 1) => ({
  offset: offset as Offset,
  deliveryNumber,
});

async function delivered(count: number, type: 'classic' | 'stream' = 'classic') {
  const world = new DispatcherWorld({ type, limits: { defaultGroup: 'shared' } });
  world.publish(count);
  await world.member(1, { credit: count });
  world.news();
  return world;
}

describe('a settlement by name', () => {
  it('is done when it is applied, never before', async () => {
    const world = await delivered(3);
    world.ask(1, 'default', { ...at(0) });
    world.ask(2, 'default', { ...at(1), outcome: 'requeue' });
    world.ask(3, 'default', { ...at(2), outcome: 'discard' });
    expect(world.news()).toEqual([]);
    world.applyNext();
    expect(world.news()).toEqual(['#1 done']);
    world.applyNext();
    expect(world.news()).toEqual(['#2 done']);
    world.applyNext();
    expect(world.news()).toEqual(['#3 done']);
    expect(world.log).toEqual(['complete/client 0:0', 'requeue/client 0:1', 'discard/client 0:2']);
  });

  it('again: already, also while the first one is on its way', async () => {
    const world = await delivered(1);
    world.ask(1, 'default', { ...at(0) });
    world.ask(2, 'default', { ...at(0) });
    expect(world.news()).toEqual([]);
    world.apply();
    expect(world.news()).toEqual(['#1 done', '#2 already']);
    world.ask(3, 'default', { ...at(0) });
    expect(world.news()).toEqual(['#3 already']);
    expect(world.log).toHaveLength(1);
  });

  it('Q27: of a former delivery: stale for a requeue and a discard, counts for a complete', async () => {
    const world = await delivered(2);
    world.now += 30_000;
    await world.settle();
    world.now += 1_000;
    await world.settle();
    world.ask(1, 'default', { ...at(0), outcome: 'requeue' });
    world.ask(2, 'default', { ...at(0), outcome: 'discard' });
    world.ask(3, 'default', { ...at(1), term: TERM - 1, outcome: 'discard' });
    world.ask(4, 'default', { ...at(0), term: TERM - 1 });
    await world.settle();
    expect(world.news()).toEqual(['#1 stale', '#2 stale', '#3 stale', '#4 done']);
  });

  it('a complete behind a requeue of the same message: each has its own answer', async () => {
    const world = await delivered(1);
    world.ask(1, 'default', { ...at(0), outcome: 'requeue' });
    world.ask(2, 'default', { ...at(0), outcome: 'complete' });
    world.applyNext();
    expect(world.news()).toEqual(['#1 done']);
    world.applyNext();
    expect(world.news()).toEqual(['#2 done']);
  });

  it('where there is nothing to settle: no queue, no group, no such offset', async () => {
    const world = await delivered(1);
    world.ask(1, 'nobody', { ...at(0) });
    await world.settle();
    world.ask(2, 'default', { ...at(99) });
    world.ask(3, 'default', { ...at(0), queueId: 99 as typeof QUEUE });
    expect(world.news()).toEqual(['#1 no-group', '#2 stale', '#3 no-queue']);
    expect(world.log).toEqual([]);
  });

  it('in a group that has no consumer in this term it counts, and the group is forgotten', async () => {
    const world = new DispatcherWorld();
    const groupId = world.addGroup('sleeping');
    world.publish(2);
    world.ask(1, 'sleeping', { ...at(1), term: TERM - 1 });
    world.ask(2, 'sleeping', { ...at(0), term: TERM - 1, outcome: 'requeue' });
    await world.settle();
    expect(world.news()).toEqual(['#2 stale', '#1 done']);
    expect(world.group('sleeping').settled).toEqual(new Set([1]));
    expect(world.dispatcher.activity({ queueId: QUEUE, groupId })).toBeUndefined();
    world.ask(3, 'sleeping', { ...at(1) });
    await world.settle();
    expect(world.news()).toEqual(['#3 already']);
    expect(world.dispatcher.activity({ queueId: QUEUE, groupId })).toBeUndefined();
  });

  it('is answered when a purge, a seek or a deletion comes first', async () => {
    for (const way of ['purge', 'seek', 'group', 'queue', 'store'] as const) {
      const world = new DispatcherWorld({ type: 'stream', limits: { defaultGroup: 'shared' } });
      world.publish(3);
      await world.member(1);
      world.news();
      world.ask(1, 'default', { ...at(0) });
      if (way === 'purge') world.purge(DEFAULT, 0, 3);
      else if (way === 'seek') world.seek(DEFAULT, 2);
      else if (way === 'group') world.deleteGroup(DEFAULT);
      else if (way === 'queue') world.deleteQueue();
      else world.dispatcher.cancelEverything();
      const answer = { purge: 'done', seek: 'done', group: 'no-group', queue: 'no-queue' };
      const expected = way === 'store' ? 'unavailable' : answer[way];
      expect(world.news().filter((each) => each.startsWith('#'))).toEqual([`#1 ${expected}`]);
      await world.settle();
      expect(world.news().filter((each) => each.startsWith('#'))).toEqual([]);
    }
  });

  it('that cannot be proposed is unavailable, and the delivery stays with its consumer', async () => {
    const world = await delivered(1);
    world.takesProposals = false;
    world.ask(1, 'default', { ...at(0), outcome: 'discard' });
    expect(world.news()).toEqual(['#1 unavailable']);
    expect(world.dispatcher.delivered(QUEUE)).toBe(1);
    world.takesProposals = true;
    world.ask(2, 'default', { ...at(0), outcome: 'discard' });
    world.apply();
    expect(world.news()).toEqual(['#2 done']);
  });

  it('waits for a group that is being made, and hears when it is refused', async () => {
    const world = new DispatcherWorld();
    world.publish(1);
    world.attach(1, { group: 'a' });
    world.ask(1, 'a', { ...at(0) });
    const group = 'x'.repeat(300);
    world.attach(2, { group });
    world.ask(2, group, { ...at(0) });
    await world.settle();
    expect(world.news()).toEqual([
      '2 cancelled refused: too long',
      '#2 no-group',
      '1 attached a',
      '#1 done',
    ]);
  });

  it('beyond the bound it is unavailable, until others are answered', async () => {
    const world = await delivered(1);
    world.held = [];
    for (let tag = 0; tag < 65_536; tag++) world.ask(tag, 'other', { ...at(0) });
    world.ask(70_000, 'other', { ...at(0) });
    world.ask(70_001, 'default', { ...at(0) });
    expect(world.news()).toEqual(['#70000 unavailable', '#70001 unavailable']);
    await Promise.resolve();
    for (const go of world.held) go();
    world.held = undefined;
    await world.settle();
    expect(world.news()).toHaveLength(65_536);
    world.ask(70_002, 'default', { ...at(0) });
    await world.settle();
    expect(world.news()).toEqual(['#70002 done']);
  });
});

describe('an extension', () => {
  it('begins the visibility timeout anew, for the current delivery alone', async () => {
    const world = await delivered(2);
    world.delivered();
    world.now += 20_000;
    world.ask(1, 'default', { ...at(0), outcome: 'extend' });
    world.ask(2, 'default', { ...at(0, 2), outcome: 'extend' });
    world.ask(3, 'default', { ...at(0), term: TERM + 1, outcome: 'extend' });
    world.ask(4, 'nobody', { ...at(0), outcome: 'extend' });
    await world.settle();
    expect(world.news()).toEqual(['#1 done', '#2 stale', '#3 stale', '#4 no-group']);
    world.now += 10_000;
    await world.settle();
    expect(world.log).toEqual(['requeue/timeout 0:1']);
    world.now += 20_000;
    await world.settle();
    expect(world.log.at(-1)).toBe('requeue/timeout 0:0');
  });
});

describe('a stream', () => {
  it('commit settles everything up to and with the offset, and is done when it is', async () => {
    const world = await delivered(5, 'stream');
    world.ask(1, 'default', { offset: 2 as Offset, outcome: 'commit', term: 0, deliveryNumber: 0 });
    expect(world.news()).toEqual([]);
    world.apply();
    expect(world.news()).toEqual(['#1 done']);
    expect(world.group('default').floor).toBe(3);
    world.ask(2, 'default', { offset: 2 as Offset, outcome: 'commit' });
    world.ask(3, 'default', { offset: 5 as Offset, outcome: 'commit' });
    expect(world.news()).toEqual(['#2 already', '#3 stale']);
    expect(world.dispatcher.delivered(QUEUE)).toBe(2);
  });

  it('a long commit goes in slices, and is done with the last of them', async () => {
    const world = new DispatcherWorld({ type: 'stream', limits: { defaultGroup: 'shared' } });
    world.publish(150_000);
    world.ask(1, 'default', { offset: 149_999 as Offset, outcome: 'commit' });
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    expect(world.log).toEqual(['range/committed 0:0-65536']);
    world.applyNext();
    expect(world.log.slice(1)).toEqual(['range/committed 0:65536-131072']);
    world.applyNext();
    expect(world.news()).toEqual([]);
    expect(world.log.slice(2)).toEqual(['range/committed 0:131072-150000']);
    world.applyNext();
    expect(world.news()).toEqual(['#1 done']);
    expect(world.log).toHaveLength(3);
  });

  it('a nack is done and changes nothing, a reject moves past it', async () => {
    const world = await delivered(2, 'stream');
    world.ask(1, 'default', { ...at(0), outcome: 'requeue' });
    world.ask(2, 'default', { ...at(1), outcome: 'requeue', deliveryNumber: 9 });
    world.ask(3, 'default', { ...at(1), outcome: 'discard' });
    world.apply();
    expect(world.news()).toEqual(['#1 done', '#2 stale', '#3 done']);
    expect(world.log).toEqual(['discard/client 0:1']);
    expect(world.dispatcher.delivered(QUEUE)).toBe(1);
  });

  it('a classic queue has no commit', async () => {
    const world = await delivered(1);
    world.ask(1, 'default', { ...at(0), outcome: 'commit' });
    expect(world.news()).toEqual(['#1 stale']);
  });
});
